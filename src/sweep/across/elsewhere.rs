//! A load that another host drives, as the conductor on the target's host sees it. Invariant: nothing is sent to the
//! server, and what the other host waits for (the window's beginning and end) is told when it happens.

use super::{Ask, Tell};
use crate::clock::Span;
use crate::load::{Driver, Load, LoadTrace, SLICE, Slice};
use crate::remote::Served;
use anyhow::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Windows under a load that runs elsewhere already.
pub struct ElsewhereDriver {
    pub asking: Arc<Served<Ask, Tell>>,
    /// The client's ends of the next window's connections.
    pub ends: Option<BTreeSet<u32>>,
}

impl Driver for ElsewhereDriver {
    fn name(&self) -> String {
        "a load on another host".into()
    }

    fn open(&mut self, level: usize) -> Result<Box<dyn Load>> {
        let (asking, ends) = (self.asking.clone(), self.ends.take());
        Ok(Box::new(ElsewhereLoad { asking, ends, level, sockets: None, abandoned: AtomicBool::new(false) }))
    }
}

struct ElsewhereLoad {
    asking: Arc<Served<Ask, Tell>>,
    ends: Option<BTreeSet<u32>>,
    level: usize,
    sockets: Option<Span>,
    abandoned: AtomicBool,
}

impl Load for ElsewhereLoad {
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    fn thread_ids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn ends(&self) -> Option<BTreeSet<u32>> {
        self.ends.clone()
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    fn failed(&self) -> Option<String> {
        if matches!(self.asking.poll(), Some(Ask::Abandon)) {
            self.abandoned.store(true, Ordering::Relaxed);
        }
        let gone = self.abandoned.load(Ordering::Relaxed) || self.asking.is_gone();
        gone.then(|| "the load on the other host has ended".into())
    }

    fn sockets_followed(&self, begins: bool) {
        self.asking.send(if begins { &Tell::Begun } else { &Tell::Followed }, &[]);
    }

    fn count_within(&mut self, span: Span) {
        self.sockets = Some(span);
    }

    fn stop(self: Box<Self>, span: Span) -> Result<LoadTrace> {
        self.asking.send(&Tell::Released { window: span, sockets: self.sockets }, &[]);
        // CPU is accounted by batches of slices; the other host has the queries of each.
        let slices = (0..span.nanos()).step_by(SLICE as usize).map(|at| Slice {
            at,
            nanos: SLICE.min(span.nanos() - at),
            completed: 0,
            latency_sum: 0,
            latency: None,
        });
        let slices = slices.collect();
        Ok(LoadTrace { slices, ..LoadTrace::not_driven("a load on another host", span, self.level) })
    }
}
