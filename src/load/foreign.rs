//! Somebody else's load: nothing is sent, and what only a driver can know is not measured. Invariant: no connection to
//! the server is opened.

use super::driver::{Driver, Load};
use super::trace::LoadTrace;
use crate::clock::Span;
use anyhow::Result;
use std::sync::Arc;

/// How many clients the server has now; `None`: cannot be told.
pub type ClientCount = Arc<dyn Fn() -> Option<usize> + Send + Sync>;

/// Reads how many clients there are, and leaves them alone.
pub struct ForeignDriver {
    clients: ClientCount,
}

impl ForeignDriver {
    /// A driver that asks `clients` how many clients there are, at the beginning of each load.
    pub fn new(clients: ClientCount) -> ForeignDriver {
        ForeignDriver { clients }
    }
}

impl Driver for ForeignDriver {
    fn name(&self) -> String {
        "somebody else's load".into()
    }

    fn level(&self) -> Option<usize> {
        (self.clients)().filter(|seen| *seen > 0)
    }

    fn open(&mut self, level: usize) -> Result<Box<dyn Load>> {
        let start = (self.clients)();
        Ok(Box::new(ForeignLoad { name: self.name(), clients: self.clients.clone(), level, start }))
    }
}

struct ForeignLoad {
    name: String,
    clients: ClientCount,
    level: usize,
    /// Clients at the window's start.
    start: Option<usize>,
}

impl Load for ForeignLoad {
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    fn thread_ids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    fn failed(&self) -> Option<String> {
        None
    }

    fn unmeasured(&self) -> Vec<(&'static str, String)> {
        let mut parts: Vec<(&'static str, String)> = ["latency", "row counts", "sessions", "errors"]
            .map(|part| (part, "the load is somebody else's, and only its driver knows".to_string()))
            .to_vec();
        if let (Some(start), Some(end)) = (self.start, (self.clients)())
            && start != end
        {
            let why = format!("{start} connections at the window's start, {end} at its end");
            parts.push(("a steady number of clients", why));
        }
        parts
    }

    fn stop(self: Box<Self>, span: Span) -> Result<LoadTrace> {
        Ok(LoadTrace::not_driven(&self.name, span, self.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn clients_that_come_and_go_are_told_and_what_a_driver_would_know_is_not_measured() {
        let now = Arc::new(AtomicUsize::new(16));
        let read = now.clone();
        let mut driver = ForeignDriver::new(Arc::new(move || Some(read.load(Ordering::Relaxed))));
        assert_eq!(driver.level(), Some(16));
        let load = driver.open(16).unwrap();
        let parts = |load: &dyn Load| load.unmeasured().into_iter().map(|(part, _)| part).collect::<Vec<_>>();
        assert_eq!(parts(load.as_ref()), ["latency", "row counts", "sessions", "errors"]);
        now.store(12, Ordering::Relaxed);
        assert_eq!(load.unmeasured()[4].1, "16 connections at the window's start, 12 at its end");
        let trace = load.stop(Span::new(0, 1_000_000_000)).unwrap();
        assert_eq!((trace.connections, trace.completed, trace.mean_latency()), (16, 0, None));
        now.store(0, Ordering::Relaxed);
        assert_eq!(driver.level(), None, "a server without clients tells no level");
    }
}
