//! See `tests/window_oracle.rs` for the laws; here are the parts that only the room can see.

use super::Restored;
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_metadata_reads_back_what_it_says(pos in 0i64.., watermark: Option<i64>, closed_until: Option<i64>) {
        let restored = Restored { pos, watermark, closed_until };
        prop_assert_eq!(restored.to_string().parse(), Ok(restored));
        prop_assert!(restored.to_string().len() < 100);
    }

    #[test]
    fn a_strange_note_is_an_error_and_never_a_panic(text in "\\PC{0,40}|v1(;[0-9-]{0,22}){0,5}") {
        let _ = text.parse::<Restored>();
    }
}
