//! The side that answers: standard input and output of a process that ssh started. Invariant: standard output holds
//! messages and nothing else, and where the asking side is gone or silent, that is noticed within half a minute.

use super::frame::{Frame, read_frame, write_frame};
use super::program::READY;
use super::{Envelope, spawn};
use crate::clock;
use anyhow::Result;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Stdin, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The clock is asked for five times a second, so that silence of this length in ns is no pause: the link is gone.
const SILENCE: u64 = 25_000_000_000;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The asking side, as this process sees it. `A` comes, `T` is sent.
pub struct Served<A, T> {
    messages: Mutex<mpsc::Receiver<A>>,
    out: Arc<Mutex<Stdout>>,
    heard: Arc<AtomicU64>,
    gone: Arc<AtomicBool>,
    tells: std::marker::PhantomData<fn(T)>,
}

impl<A: DeserializeOwned + Send + 'static, T: Serialize> Served<A, T> {
    /// Says that this side is there, and begins to answer readings of the clock. Where the asking side is gone,
    /// `on_end` is called once, from another thread, and this process is ended after `limit` if it has not ended by
    /// itself.
    ///
    /// # Errors
    /// Standard output is closed already, or the system gives no thread.
    pub fn open(limit: Duration, on_end: impl FnOnce() + Send + 'static) -> Result<Served<A, T>> {
        let mut stdout = std::io::stdout();
        // Behind what a login shell left on the line.
        writeln!(stdout, "\n{READY}")?;
        stdout.flush()?;
        let out = Arc::new(Mutex::new(stdout));
        let heard = Arc::new(AtomicU64::new(clock::now()));
        let gone = Arc::new(AtomicBool::new(false));
        let (tell, messages) = mpsc::channel();
        let (answers, when, closed) = (out.clone(), heard.clone(), gone.clone());
        spawn(move || {
            listen(&std::io::stdin(), &answers, &when, &tell);
            closed.store(true, Ordering::Release);
        })?;
        let (when, closed) = (heard.clone(), gone.clone());
        spawn(move || {
            while !closed.load(Ordering::Acquire) && clock::now().saturating_sub(when.load(Ordering::Relaxed)) < SILENCE
            {
                std::thread::sleep(LOOK);
            }
            closed.store(true, Ordering::Release);
            on_end();
            std::thread::sleep(limit);
            std::process::exit(1);
        })?;
        Ok(Served { messages: Mutex::new(messages), out, heard, gone, tells: std::marker::PhantomData })
    }

    /// Sends a message with what belongs to it. A link that is down is noticed elsewhere.
    pub fn send(&self, message: &T, payload: &[u8]) {
        // While a large file is sent nothing else can be, and the asking side may wait for it: that is no silence.
        self.heard.store(clock::now(), Ordering::Relaxed);
        if write_frame(&mut *self.out.lock(), &Envelope::Message(message), payload).is_err() {
            self.gone.store(true, Ordering::Release);
        }
    }

    /// The next message; `None`: the asking side is gone.
    pub fn receive(&self) -> Option<A> {
        loop {
            match self.messages.lock().recv_timeout(LOOK) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if !self.is_gone() => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message, if one comes in time.
    pub fn receive_within(&self, time: Duration) -> Option<A> {
        self.messages.lock().recv_timeout(time).ok()
    }

    /// The next message, if one has come.
    pub fn poll(&self) -> Option<A> {
        self.messages.lock().try_recv().ok()
    }

    /// Whether the asking side is gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Runs on a thread of its own until the input ends.
fn listen<A: DeserializeOwned>(input: &Stdin, out: &Mutex<Stdout>, heard: &AtomicU64, messages: &mpsc::Sender<A>) {
    let mut input = input.lock();
    while let Ok(Some(Frame { message, .. })) = read_frame::<Envelope<A>>(&mut input) {
        heard.store(clock::now(), Ordering::Relaxed);
        match message {
            Envelope::Clock(asked) => {
                let mut out = out.lock();
                if write_frame(&mut *out, &Envelope::<()>::Told(asked, clock::now()), &[]).is_err() {
                    return;
                }
            }
            Envelope::Message(message) => {
                if messages.send(message).is_err() {
                    return;
                }
            }
            Envelope::Told(..) => {}
        }
    }
}
