//! See `tests/window_oracle.rs` for the laws; here are the parts that only the room can see.

use super::{Given, Restored};
use proptest::prelude::*;

type Numbers = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

proptest! {
    #[test]
    fn the_metadata_reads_back_what_it_says(
        pos in 0i64..,
        (watermark, closed_until, saved, own_low, first) in any::<Numbers>(),
        keys_saved: bool,
        given in prop::option::of((0i64.., any::<i64>())),
        late in prop::collection::btree_set(0i64.., 0..5),
    ) {
        let late = late.into_iter().collect();
        let given = given.map(|(offset, until)| Given { offset, until });
        let restored = Restored { pos, watermark, closed_until, saved, own_low, keys_saved, first, given, late };
        prop_assert_eq!(restored.to_string().parse(), Ok(restored.clone()));
    }

    #[test]
    fn a_strange_note_is_an_error_and_never_a_panic(
        text in "\\PC{0,40}|v[123](;[0-9k,-]{0,22}){0,8}|p[0-9]{1,20}(;[wcsokfgl][0-9,-]{0,22}){0,8}",
    ) {
        let _ = text.parse::<Restored>();
    }
}

#[test]
fn a_note_has_what_it_has_to_say_and_no_more() {
    let first = Restored { pos: 7, watermark: Some(-3), ..Restored::default() };
    assert_eq!(first.to_string(), "p7;w-3");
    let second = Restored { saved: Some(5), keys_saved: true, first: Some(2), ..first };
    assert_eq!(second.to_string(), "p7;w-3;s5;f2;k");
    let given = Some(Given { offset: 6, until: 9 });
    let third = Restored { given, late: vec![3, 5, 6], ..second };
    assert_eq!(third.to_string(), "p7;w-3;s5;f2;k;g6,9;l3,2,1");
    for wrong in ["", "w3", "p7;p8", "p7;", "p7;x1", "p7;k1", "p7;g1", "p7;l"] {
        assert!(wrong.parse::<Restored>().is_err(), "{wrong}");
    }
}
