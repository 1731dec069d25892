//! A text as a value of another type: the rules of the transform `cast`, and of `coerce` in JSON.

/// A whole number of 64 bits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A number as people write it: not `inf` or `nan`, which `parse` would take.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// `true` or `1`, `false` or `0`.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
