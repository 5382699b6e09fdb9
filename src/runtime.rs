//! Tokio's runtimes. Invariant: where this process gets too few descriptors for one, that is an error with its remedy;
//! tokio itself panics where it gets none for its signals.

use anyhow::{Context, Result};
use std::io;
use std::os::unix::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Pairs of sockets that stand for what a runtime opens: an epoll and its duplicate, what wakes it, and a pair and a
/// duplicate for signals.
const PAIRS: usize = 3;

/// A runtime with so many threads of its own, of this name.
///
/// # Errors
/// Too few descriptors, or no thread.
pub fn with_threads(count: usize, name: &str) -> Result<Runtime> {
    built(Builder::new_multi_thread().worker_threads(count).thread_name(name))
}

/// A runtime on the thread that waits for it.
///
/// # Errors
/// Too few descriptors.
pub fn on_this_thread() -> Result<Runtime> {
    built(&mut Builder::new_current_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime> {
    let room: io::Result<Vec<_>> = (0..PAIRS).map(|_| UnixStream::pair()).collect();
    let runtime = room.map(drop).and_then(|()| builder.enable_all().build());
    runtime
        .map_err(|cause| match cause.raw_os_error() {
            Some(libc::EMFILE) => {
                io::Error::new(cause.kind(), format!("{cause}; raise the limit of open files (ulimit -n)"))
            }
            _ => cause,
        })
        .context("cannot start the runtime")
}
