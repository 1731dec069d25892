//! Notes while a chain's code holds its thread: a call that blocks is seen from outside.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::clock::Clock;
use crate::metrics::ChainMetrics;

/// A chain's task, watched.
pub(crate) struct Watched<F> {
    inner: Pin<Box<F>>,
    metrics: Arc<ChainMetrics>,
    clock: Clock,
}

impl<F: Future> Watched<F> {
    pub(crate) fn new(inner: F, metrics: Arc<ChainMetrics>, clock: Clock) -> Self {
        Self { inner: Box::pin(inner), metrics, clock }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.metrics.standing.call_begins(self.clock.elapsed());
        let polled = self.inner.as_mut().poll(context);
        self.metrics.standing.call_ends();
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn code_that_holds_its_thread_is_seen_from_outside() {
        let metrics = Arc::new(ChainMetrics::default());
        let clock = Clock::manual(0);
        let (seen, inside) = (metrics.clone(), clock.clone());
        let chain = async move {
            let in_three = inside.elapsed() + Duration::from_secs(3);
            let held = seen.standing.holds_thread(in_three);
            tokio::time::sleep(Duration::from_secs(10)).await;
            held
        };
        let task = tokio::spawn(Watched::new(chain, metrics.clone(), clock.clone()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(metrics.standing.holds_thread(clock.elapsed()), None, "asleep");
        assert_eq!(task.await.unwrap(), Some(Duration::from_secs(3)), "in a call");
    }
}
