//! On-CPU samples by perf events, unwound while the target runs. Invariant: every record of a ring is looked at and
//! every loss counted; a sample whose stack cannot be followed is kept with the reason.

mod events;
mod late;
mod processes;
mod reader;
mod record;
mod referee;
mod timeline;

pub use events::{Budget, EventChoice, Opened, Options, TOTAL_RATE, budget, has_pmu, open};
pub use referee::{Agreement, Findings};

use super::unwind::Modules;
use super::{RawSamples, Recording, Sampler, SamplingReport};
use anyhow::{Context, Result};
use processes::Processes;
use reader::Reader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks into the rings; a ring holds 250 ms.
const PAUSE: Duration = Duration::from_millis(15);

/// Samples processes by perf events.
#[derive(Default)]
pub struct PerfSampler {
    options: Options,
    /// Survives from window to window, so that each file is opened once.
    modules: Arc<std::sync::Mutex<Modules>>,
}

impl PerfSampler {
    pub fn new(options: Options) -> Self {
        PerfSampler { options, modules: Arc::default() }
    }
}

impl Sampler for PerfSampler {
    fn start(&mut self, pids: &[u32], children: bool) -> Result<Box<dyn Recording>> {
        let opened = open(&self.options, pids)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread_id = Arc::new(AtomicU32::new(0));
        let processes = Processes::new(pids, children);
        let (modules, flag, id) = (self.modules.clone(), stop.clone(), thread_id.clone());
        let thread = std::thread::Builder::new()
            .name("wireprof-sample".into())
            .spawn(move || {
                // SAFETY: gettid has no preconditions.
                id.store(unsafe { libc::gettid() } as u32, Ordering::Release);
                prefer_this_thread();
                let mut modules = modules.lock().unwrap_or_else(|e| e.into_inner());
                Reader::new(opened, processes, &mut modules).run(&flag)
            })
            .context("cannot start the sampling thread")?;
        Ok(Box::new(PerfRecording { stop, thread_id, thread: Some(thread) }))
    }
}

/// A reader that waits for a CPU longer than its rings last loses samples, so it asks to be preferred; a refusal
/// (no privilege) only makes losses likelier, and those are counted.
fn prefer_this_thread() {
    // SAFETY: setpriority takes numbers only; 0 is the calling thread on Linux (setpriority(2), "C library/kernel differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

struct PerfRecording {
    stop: Arc<AtomicBool>,
    thread_id: Arc<AtomicU32>,
    thread: Option<JoinHandle<(RawSamples, SamplingReport)>>,
}

impl Recording for PerfRecording {
    fn thread_ids(&self) -> Vec<u32> {
        Some(self.thread_id.load(Ordering::Acquire)).filter(|id| *id != 0).into_iter().collect()
    }

    fn stop(mut self: Box<Self>) -> Result<(RawSamples, SamplingReport)> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("the recording was already stopped")?;
        thread.join().map_err(|_| anyhow::anyhow!("the sampling thread panicked; its samples are lost"))
    }
}

impl Drop for PerfRecording {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// CPU time of the calling thread in ns.
fn thread_cpu() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}
