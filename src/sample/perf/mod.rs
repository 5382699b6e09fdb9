//! On-CPU samples by perf events, unwound while the target runs. Invariant: every record of a ring is looked at and
//! every loss counted; a sample whose stack cannot be followed is kept with the reason.

pub mod events;
mod late;
mod reader;
pub mod record;
mod timeline;

pub use events::{Budget, CHANGES_BYTES, Opened, TOTAL_RATE, budget, open};

use super::processes::Processes;
use super::thread::SamplingThread;
use super::unwind::Modules;
use super::{ChosenRate, Options, Recording, Sampled, Sampler, SamplingReport};
use crate::target::family;
use anyhow::Result;
use reader::Reader;
use std::sync::Arc;

/// Why there are no waits where nothing else is known.
const NO_WAITS: &str = "waits are followed by the kernel's program only";

/// Samples processes by perf events.
#[derive(Default)]
pub struct PerfSampler {
    options: Options,
    /// Why not a better one; in every report.
    because: Option<String>,
    /// Survives from window to window, so that each file is opened once.
    modules: Arc<parking_lot::Mutex<Modules>>,
}

impl PerfSampler {
    /// A sampler that opens its events when it is started.
    pub fn new(options: Options) -> Self {
        PerfSampler { options, because: None, modules: Arc::default() }
    }

    /// Says in every report why no better sampler was taken.
    pub fn because(self, reason: String) -> Self {
        PerfSampler { because: Some(reason), ..self }
    }
}

impl Sampler for PerfSampler {
    fn set_rate(&mut self, chosen: ChosenRate) {
        self.options.set_rate(chosen);
    }

    fn start(&mut self, sampled: &[Sampled]) -> Result<Box<dyn Recording>> {
        // Those who live already too: an event of one thread is inherited only by what that thread gives birth to.
        let own = |named: &Sampled| if named.children { family(named.pid) } else { vec![named.pid] };
        let pids: Vec<u32> = sampled.iter().flat_map(own).collect();
        let mut opened = open(&self.options, &pids)?;
        opened.fallbacks.extend(self.because.clone());
        let processes = Processes::new(sampled);
        let modules = self.modules.clone();
        let chosen = self.options.chosen.clone();
        let waits = self.options.off_cpu.then(|| self.because.clone().unwrap_or_else(|| NO_WAITS.into()));
        let recording = SamplingThread::start(move |stop| {
            let mut modules = modules.lock();
            let (mut raw, report) = Reader::new(opened, processes, &mut modules).run(stop);
            raw.off_cpu = waits.map(Err);
            (raw, SamplingReport { chosen, ..report })
        })?;
        Ok(Box::new(recording))
    }
}
