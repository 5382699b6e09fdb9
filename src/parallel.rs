//! Work divided among the CPUs. Invariant: answers come in the order of what was asked, whoever worked them out, so
//! that results do not depend on the number of CPUs; where the system gives no thread, the work is done without it.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What `of` answers for each of these, on as many threads as there are CPUs. The last ones are begun first: those of
/// the most clients have the most to do.
///
/// # Panics
/// Where `of` does.
pub fn each<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let begun = AtomicUsize::new(0);
    let work = || {
        let mut found: Vec<(usize, R)> = Vec::new();
        while let Some(at) = items.len().checked_sub(1 + begun.fetch_add(1, Ordering::Relaxed)) {
            found.push((at, of(&items[at])));
        }
        found
    };
    let mut found = thread::scope(|scope| {
        let spawned = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(spawned).collect();
        let own = work();
        let others = others.into_iter().flat_map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        own.into_iter().chain(others).collect::<Vec<_>>()
    });
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, answer)| answer).collect()
}

/// What both answer, at the same time where a thread can be had.
///
/// # Panics
/// Where one of them does.
pub fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    // Whoever takes it does it: a thread that cannot be had drops what it was given.
    let first = Mutex::new(Some(first));
    let take = || first.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take().map(|first| first());
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, take).ok();
        let second = second();
        let first = match other {
            Some(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => take(),
        };
        (first.expect("it was there to be taken"), second)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_what_was_asked() {
        let asked: Vec<usize> = (0..100).collect();
        assert_eq!(each(&asked, |n| n * n), asked.iter().map(|n| n * n).collect::<Vec<_>>());
        assert!(each(&[], |n: &usize| *n).is_empty());
        assert_eq!(both(|| 1, || "two"), (1, "two"));
    }
}
