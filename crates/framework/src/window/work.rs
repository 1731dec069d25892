//! Counts what is looked at, so that tests can hold what a row costs to be the same after any time. Nothing
//! is counted outside of tests.

#[cfg(test)]
thread_local! {
    static DONE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// So many fragments, panes or states were looked at.
#[inline]
#[cfg_attr(not(test), expect(unused_variables, reason = "nothing is counted"))]
pub(super) fn count(looked_at: usize) {
    #[cfg(test)]
    DONE.with(|done| done.set(done.get() + looked_at as u64));
}

/// How many were looked at since the last call, by this thread.
#[cfg(test)]
pub(super) fn take() -> u64 {
    DONE.with(|done| done.replace(0))
}
