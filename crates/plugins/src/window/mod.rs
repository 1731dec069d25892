//! Windows: what is kept of the rows between two moments.

mod count_by_key;
