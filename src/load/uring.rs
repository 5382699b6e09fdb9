//! One load thread's io_uring(7): requests of several sessions go out in one system call, and what arrives is copied
//! into buffers while the thread waits. Invariant: the kernel reads a request only within the system call that submits
//! it, and writes only into buffers that live until nothing is under way.
//!
//! No request ever waits in the kernel: sends are non-blocking, and receives are armed once and complete again and
//! again. All of it runs on the load thread, within its own system calls (`IORING_SETUP_DEFER_TASKRUN`), so its CPU is
//! the thread's. There is no polling thread and no work for the kernel's workers.

mod buffers;

pub use buffers::{Buffers, Piece};

use crate::clock::Nanos;
use buffers::Memory;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::sync::Arc;

/// The longest request that goes through the ring; others are worth a system call of their own.
const LONGEST: usize = 4096;
/// Bytes of requests that go out together, at most.
const OUTGOING: usize = 256 * 1024;
/// Entries besides those of sessions: what watches epoll, and what cancels everything.
const OTHERS: usize = 8;
/// The most entries that io_uring_setup(2) gives.
const MOST_ENTRIES: usize = 32 * 1024;
/// Tries, of up to [`PATIENCE`] ns each, to end what is under way before the ring is closed.
const TRIES: usize = 100;
const PATIENCE: Nanos = 10_000_000;

/// What an entry is of, in the upper half of its user data; the session is in the lower half.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const WATCH: u64 = 2;
const CANCEL: u64 = 3;

/// What has happened.
#[derive(Debug)]
pub enum Completion {
    /// Bytes have arrived; `Ok(0)`: the peer has closed. The piece is to be given back, whatever the result is.
    Received { session: usize, result: io::Result<usize>, piece: Option<Piece> },
    /// Of a request only so many bytes were sent, or none for this reason.
    Unsent { session: usize, sent: io::Result<usize> },
    /// A descriptor of the watched epoll instance is ready. It is no longer watched.
    Ready,
}

/// Whether a session's bytes are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    No,
    Yes,
    /// Never again.
    Ended,
}

/// The ring of one load thread. It belongs to the thread that calls [`Ring::begin`].
pub struct Ring {
    ring: IoUring,
    memory: Arc<Memory>,
    /// Requests that are to go out together. Never moved or resized: the queue points into it.
    outgoing: Box<[u8]>,
    used: usize,
    sends: usize,
    receiving: Vec<Receiving>,
    /// Entries with a completion still to come.
    under_way: usize,
    begun: bool,
    leaving: bool,
}

impl Ring {
    /// A ring for these sockets; a session is named by its place among them.
    ///
    /// # Errors
    /// What the kernel, its settings or a limit do not permit; [`refusal`] words it.
    pub fn new(sockets: &[RawFd]) -> io::Result<Ring> {
        // Of each session a request, the next receive, and a cancellation.
        let entries = (3 * sockets.len() + OTHERS).next_power_of_two();
        if entries > MOST_ENTRIES {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it has no room for so many sessions"));
        }
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        builder.setup_submit_all().setup_r_disabled().dontfork();
        let ring = builder.build(entries as u32)?;
        let memory = Arc::new(Memory::new(sockets.len())?);
        let (address, count) = memory.entries();
        // SAFETY: the memory holds so many entries from this address on, and outlives the ring (see `drop`).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, 0, 0)? };
        ring.submitter().register_files(sockets)?;
        Ok(Ring {
            ring,
            memory,
            outgoing: vec![0; OUTGOING].into_boxed_slice(),
            used: 0,
            sends: 0,
            receiving: vec![Receiving::No; sockets.len()],
            under_way: 0,
            begun: false,
            leaving: false,
        })
    }

    /// Makes the ring the calling thread's, and gives the buffers of what arrives.
    ///
    /// # Errors
    /// Those of io_uring_register(2).
    pub fn begin(&mut self) -> io::Result<Buffers> {
        self.ring.submitter().register_enable_rings()?;
        self.begun = true;
        Ok(Buffers::new(self.memory.clone()))
    }

    /// Queues a request; false where it has to be sent by a system call of its own, or the queue is full.
    #[inline]
    pub fn send(&mut self, session: usize, bytes: &[u8]) -> bool {
        let end = self.used + bytes.len();
        if bytes.len() > LONGEST || end > OUTGOING || self.sends == self.receiving.len() {
            return false;
        }
        let place = &mut self.outgoing[self.used..end];
        place.copy_from_slice(bytes);
        // Without waiting, and as a whole: it completes while it is submitted, and is heard of only where it did not.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        let send = opcode::Send::new(Fixed(session as u32), place.as_ptr(), bytes.len() as u32).flags(flags).build();
        self.push(send.flags(Flags::SKIP_SUCCESS).user_data(SEND << 32 | session as u64));
        self.used = end;
        self.sends += 1;
        true
    }

    /// Awaits a session's bytes, again and again.
    pub fn receive(&mut self, session: usize) {
        if self.leaving || self.receiving[session] != Receiving::No {
            return;
        }
        self.receiving[session] = Receiving::Yes;
        self.under_way += 1;
        let receive = opcode::RecvMulti::new(Fixed(session as u32), 0).build();
        self.push(receive.user_data(RECEIVE << 32 | session as u64));
    }

    /// Awaits no bytes of a session any more.
    pub fn forget(&mut self, session: usize) {
        if self.receiving[session] == Receiving::Yes {
            let request = CancelBuilder::user_data(RECEIVE << 32 | session as u64);
            self.under_way += 1;
            self.push(opcode::AsyncCancel2::new(request).build().user_data(CANCEL << 32));
        }
        self.receiving[session] = Receiving::Ended;
    }

    /// Watches an epoll instance: it completes once, at once where something is ready.
    pub fn watch(&mut self, epoll: RawFd) {
        if !self.leaving {
            self.under_way += 1;
            let watch = opcode::PollAdd::new(Fd(epoll), libc::POLLIN as u32).build();
            self.push(watch.user_data(WATCH << 32));
        }
    }

    /// Ends all that is under way, and begins nothing but requests any more.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.under_way += 1;
            self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(CANCEL << 32));
        }
    }

    /// Entries with a completion still to come: until there are none, bytes may arrive.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    #[inline]
    fn push(&mut self, entry: Entry) {
        // SAFETY: only sends have a pointer. It points into `outgoing`, which lives as long as the ring; its bytes are
        // written anew only when the queue is empty, and a send has completed when it leaves the queue (MSG_DONTWAIT).
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("between two submissions a session has no more entries than the queue has room for");
    }

    /// Hands over what is queued. Requests are sent in their order before this returns.
    ///
    /// # Errors
    /// Those of io_uring_enter(2); what is queued stays queued.
    #[inline]
    pub fn submit(&mut self) -> io::Result<()> {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        (self.used, self.sends) = (0, 0);
        Ok(())
    }

    /// Hands over what is queued, as [`Ring::submit`], and waits for a completion in the same system call, for so many
    /// ns at most (below 1 s). Between two calls those whom the requests wake would take the CPU, and each such switch
    /// costs more than a request.
    ///
    /// # Errors
    /// Those of io_uring_enter(2); what is queued stays queued.
    #[inline]
    pub fn wait(&mut self, limit: Nanos) -> io::Result<()> {
        let limit = Timespec::new().nsec(limit as u32);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit)) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => return Err(error),
            _ => {}
        }
        if self.ring.submission().is_empty() {
            (self.used, self.sends) = (0, 0);
        }
        Ok(())
    }

    /// The next thing that has happened; receives that have ended for want of buffers are armed anew.
    #[inline]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            let (kind, session) = (entry.user_data() >> 32, entry.user_data() as u32 as usize);
            match (kind, entry.result()) {
                (RECEIVE, _) => {
                    if let Some(received) = self.received(session, &entry) {
                        return Some(received);
                    }
                }
                (SEND, result) => {
                    let sent = match result {
                        sent @ 0.. => Ok(sent as usize),
                        error if -error == libc::EAGAIN => Ok(0),
                        error => Err(io::Error::from_raw_os_error(-error)),
                    };
                    return Some(Completion::Unsent { session, sent });
                }
                (WATCH, 0..) => {
                    self.under_way -= 1;
                    return Some(Completion::Ready);
                }
                _ => self.under_way -= 1,
            }
        }
    }

    #[inline]
    fn received(&mut self, session: usize, entry: &cqueue::Entry) -> Option<Completion> {
        let (result, flags) = (entry.result(), entry.flags());
        if !cqueue::more(flags) {
            self.under_way -= 1;
            if self.receiving[session] == Receiving::Yes {
                self.receiving[session] = Receiving::No;
            }
            if result > 0 || matches!(-result, libc::ENOBUFS | libc::EINTR | libc::EAGAIN) {
                self.receive(session);
            }
        }
        let piece = cqueue::buffer_select(flags).map(|id| Piece::new(id, result.max(0) as usize));
        let result = match -result {
            ..=0 => Ok(result as usize),
            libc::ENOBUFS | libc::EINTR | libc::EAGAIN | libc::ECANCELED if piece.is_none() => return None,
            error => Err(io::Error::from_raw_os_error(error)),
        };
        Some(Completion::Received { session, result, piece })
    }
}

impl Drop for Ring {
    /// Closes the ring when nothing is under way any more. Its sockets are let go here; the kernel ends a ring later.
    fn drop(&mut self) {
        if self.begun {
            self.leave();
            for _ in 0..TRIES {
                while self.next().is_some() {}
                if self.under_way == 0 || self.submit().and_then(|()| self.wait(PATIENCE)).is_err() {
                    break;
                }
            }
            if self.under_way > 0 {
                // Rather than to take memory away that the kernel may still write to.
                std::mem::forget(self.memory.clone());
            }
        }
        // Without it they would be let go with the ring.
        let _ = self.ring.submitter().unregister_files();
    }
}

/// Why the kernel gives no ring, in words that follow "io_uring".
pub fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "is not in this kernel".into(),
        Some(libc::EINVAL) => "of this kernel lacks what is needed (Linux 6.1 or later has it)".into(),
        Some(libc::EPERM | libc::EACCES) => "is not permitted (kernel.io_uring_disabled, or a seccomp filter)".into(),
        Some(libc::ENOMEM) => "gets no memory (ulimit -l)".into(),
        Some(libc::EMFILE) => "gets no descriptor (ulimit -n)".into(),
        _ => format!("is refused: {error}"),
    }
}

#[cfg(test)]
mod tests;
