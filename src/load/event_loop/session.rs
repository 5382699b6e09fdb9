//! A connection under load, with what it has under way. Invariant: it has at most one query under way, and moves from
//! one load thread to another as it is.

use crate::clock::Nanos;
use crate::load::plan::JobPlan;
use crate::load::scanner::{Answer, Scanner};
use crate::load::transaction::Client;
use crate::load::transport::Transport;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// A connection under load.
pub struct Session {
    pub(super) transport: Transport,
    pub(super) scanner: Scanner,
    pub(super) answer: Answer,
    pub(super) lane: usize,
    pub(super) execution: u64,
    pub(super) step: u32,
    pub(super) busy: bool,
    pub(super) open: bool,
    /// The socket is also watched for room to write.
    pub(super) writing: bool,
    /// Bytes of the request that were sent.
    pub(super) sent: usize,
    pub(super) begun: Nanos,
    /// ns that the request waited, after that, for others that went out in the same system call.
    pub(super) held: Nanos,
    /// Why nothing can be sent any more; what the server said before is still to be read.
    pub(super) unsendable: Option<io::Error>,
    /// Where the session runs scripts.
    pub(super) client: Option<Box<Client>>,
    /// The bytes of the present answer are kept.
    pub(super) keeping: bool,
    /// What the last ReadyForQuery of a script's statement said of the transaction.
    pub(super) status: u8,
    /// Until when its script sleeps, while the session moves from one thread to another.
    pub(super) sleeps: Option<Nanos>,
}

impl Session {
    pub fn new(transport: Transport, client: Option<Box<Client>>) -> Self {
        Session {
            transport,
            scanner: Scanner::default(),
            answer: Answer::default(),
            lane: 0,
            execution: 0,
            step: 0,
            busy: false,
            open: true,
            writing: false,
            sent: 0,
            begun: 0,
            held: 0,
            unsendable: None,
            client,
            keeping: false,
            status: b'I',
            sleeps: None,
        }
    }

    /// TLS is around its bytes.
    pub fn is_encrypted(&self) -> bool {
        self.transport.is_encrypted()
    }

    /// Its socket's descriptor, which stays its own.
    pub fn socket(&self) -> RawFd {
        self.transport.socket.as_raw_fd()
    }

    /// The bytes of its present request, where it is of this job.
    #[inline]
    pub(super) fn request<'a>(&'a self, job: &'a JobPlan) -> &'a [u8] {
        match &self.client {
            None => &job.request(self.execution, self.step).bytes,
            Some(client) => client.request(),
        }
    }
}
