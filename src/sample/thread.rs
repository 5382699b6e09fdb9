//! The thread that reads samples while the target runs. Invariant: it ends with its owner, and what it read is given
//! once.

use super::{Carrying, RawFollowed, RawSamples, Recording, SamplingReport};
use anyhow::{Context, Result};
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks into the rings; a ring holds 250 ms.
pub const PAUSE: Duration = Duration::from_millis(15);

/// Whether a thread is to end.
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// Hung up by then.
    wake: PipeReader,
}

impl Stop {
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Wakes who polls it when the thread is to end.
    pub fn wake(&self) -> RawFd {
        self.wake.as_raw_fd()
    }
}

/// A sampler's thread, running; it gives its samples with a report of this type.
pub struct SamplingThread<R> {
    stop: Arc<AtomicBool>,
    wake: Option<PipeWriter>,
    thread_id: Arc<AtomicU32>,
    thread: Option<JoinHandle<(RawSamples, R)>>,
}

impl<R: Send + 'static> SamplingThread<R> {
    /// Runs `read` until it is asked to stop.
    pub fn start(read: impl FnOnce(&Stop) -> (RawSamples, R) + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread_id = Arc::new(AtomicU32::new(0));
        let (woken, wake) = pipe().context("no pipe to the sampling thread")?;
        let (flag, id) = (Stop { asked: stop.clone(), wake: woken }, thread_id.clone());
        let thread = std::thread::Builder::new()
            .name("wireprof-sample".into())
            .spawn(move || {
                // SAFETY: gettid has no preconditions.
                id.store(unsafe { libc::gettid() } as u32, Ordering::Release);
                prefer_this_thread();
                read(&flag)
            })
            .context("cannot start the sampling thread")?;
        Ok(SamplingThread { stop, wake: Some(wake), thread_id, thread: Some(thread) })
    }
}

impl<R> SamplingThread<R> {
    fn id(&self) -> Vec<u32> {
        Some(self.thread_id.load(Ordering::Acquire)).filter(|id| *id != 0).into_iter().collect()
    }

    fn ask(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake = None;
    }

    fn end(&mut self) -> Result<(RawSamples, R)> {
        self.ask();
        let thread = self.thread.take().context("the recording was already stopped")?;
        thread.join().map_err(|_| anyhow::anyhow!("the sampling thread panicked; its samples are lost"))
    }
}

impl Recording for SamplingThread<SamplingReport> {
    fn thread_ids(&self) -> Vec<u32> {
        self.id()
    }

    fn stop(mut self: Box<Self>) -> Result<(RawSamples, SamplingReport)> {
        self.end()
    }
}

impl Carrying for SamplingThread<RawFollowed> {
    fn thread_ids(&self) -> Vec<u32> {
        self.id()
    }

    fn stop(mut self: Box<Self>) -> Result<(RawSamples, RawFollowed)> {
        self.end()
    }
}

impl<R> Drop for SamplingThread<R> {
    fn drop(&mut self) {
        self.ask();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A reader that waits for a CPU longer than its rings last loses samples, so it asks to be preferred; a refusal
/// (no privilege) only makes losses likelier, and those are counted.
fn prefer_this_thread() {
    // SAFETY: setpriority takes numbers only; 0 is the calling thread on Linux (setpriority(2), "C library/kernel
    // differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}
