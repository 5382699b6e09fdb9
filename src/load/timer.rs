//! A timer that wakes the event loop at an instant of the one clock, to the nanosecond (timerfd_create(2)): epoll's own
//! timeout counts milliseconds. Invariant: re-arming clears an expiry that was not read, so each expiry is a new edge.

use crate::clock::Nanos;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A one-shot timer on CLOCK_MONOTONIC.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    armed: Nanos,
}

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; a negative result is an error and is not taken for a descriptor.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor, and nothing else owns it.
        Ok(Timer { fd: unsafe { OwnedFd::from_raw_fd(fd) }, armed: 0 })
    }

    /// Fires at `at`, at once if that has passed; a system call only where the instant changes.
    pub fn arm(&mut self, at: Nanos) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let mut setting: libc::itimerspec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        };
        setting.it_value.tv_sec = (at / 1_000_000_000) as libc::time_t;
        // An all-zero value would disarm.
        setting.it_value.tv_nsec = ((at % 1_000_000_000) as libc::c_long).max(1);
        // SAFETY: `setting` is valid for the call, the old setting is not asked for, and the descriptor is our own.
        let result = unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &setting, std::ptr::null_mut())
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        self.armed = at;
        Ok(())
    }

    pub fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}
