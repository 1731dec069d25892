//! A value that only rises, and that others wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Shared by those who raise it and those who wait. These wake in the order in which they began to wait,
/// unlike with tokio's `watch`, so that a run on a simulated log has one outcome.
#[derive(Debug)]
pub(crate) struct Rising<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    value: Mutex<T>,
    risen: Notify,
}

/// Waits until each of some values is `least` or more.
pub(crate) async fn all_reach<T: Copy + Ord>(values: &[Rising<T>], least: T) {
    for value in values {
        value.reaches(least).await;
    }
}

impl<T: Copy + Ord> Rising<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Inner { value: Mutex::new(value), risen: Notify::new() }))
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> T {
        *self.value()
    }

    /// Makes it `value`, unless it is that or more.
    pub(crate) fn raise(&self, value: T) {
        let mut now = self.value();
        if *now < value {
            *now = value;
            drop(now);
            self.0.risen.notify_waiters();
        }
    }

    /// Waits until it is `value` or more.
    pub(crate) async fn reaches(&self, value: T) {
        loop {
            // Listens before it looks: what is raised in between is not missed.
            let risen = self.0.risen.notified();
            if self.get() >= value {
                return;
            }
            risen.await;
        }
    }
}

impl<T> Clone for Rising<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Raises a value when it is dropped: however its holder ends.
pub(crate) struct AtLast<T: Copy + Ord> {
    value: Rising<T>,
    last: T,
}

impl<T: Copy + Ord> AtLast<T> {
    pub(crate) fn new(value: Rising<T>, last: T) -> Self {
        Self { value, last }
    }

    pub(crate) fn raise(&self, value: T) {
        self.value.raise(value);
    }

    /// The value, for who looks at it or waits for it.
    pub(crate) fn value(&self) -> &Rising<T> {
        &self.value
    }
}

impl<T: Copy + Ord> Drop for AtLast<T> {
    fn drop(&mut self) {
        self.value.raise(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_wake_in_the_order_in_which_they_began_to() {
        let (value, order) = (Rising::new(0), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let (value, order) = (value.clone(), order.clone());
                tokio::spawn(async move {
                    value.reaches(2).await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        value.raise(1);
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        drop(AtLast::new(value, 2));
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn it_never_falls() {
        let value = Rising::new(3);
        value.raise(1);
        assert_eq!(value.get(), 3);
        value.reaches(2).await;
    }
}
