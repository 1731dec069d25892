//! See `tests/window_oracle.rs` for the laws; here are the parts that only the room can see.

use super::Restored;
use proptest::prelude::*;

type Numbers = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

proptest! {
    #[test]
    fn the_metadata_reads_back_what_it_says(
        pos in 0i64..,
        (watermark, closed_until, saved, first) in any::<Numbers>(),
        keys_saved: bool,
        late in prop::collection::btree_set(0i64.., 0..5),
    ) {
        let late = late.into_iter().collect();
        let restored = Restored { pos, watermark, closed_until, saved, keys_saved, first, late };
        prop_assert_eq!(restored.to_string().parse(), Ok(restored.clone()));
        prop_assert!(restored.to_string().len() < 220);
    }

    #[test]
    fn a_strange_note_is_an_error_and_never_a_panic(text in "\\PC{0,40}|v[123](;[0-9k,-]{0,22}){0,8}") {
        let _ = text.parse::<Restored>();
    }
}

#[test]
fn without_a_changelog_the_note_is_the_first_version() {
    let first = Restored { pos: 7, watermark: Some(-3), ..Restored::default() };
    assert_eq!(first.to_string(), "v1;7;-3;");
    let second = Restored { saved: Some(5), keys_saved: true, first: Some(2), ..first };
    assert_eq!(second.to_string(), "v2;7;-3;;5;k;2");
    let third = Restored { late: vec![3, 5, 6], ..second };
    assert_eq!(third.to_string(), "v3;7;-3;;5;k;2;3,2,1");
}
