//! Shapes shared with the kernel's program (`bpf/wire.bpf.c`), which asserts the same size when it is compiled.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a query is, in the order of the program's `enum place`; a connection is in one of them at every instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The client has the last answer and has not sent the next query: it thinks, works, or keeps the connection in a pool.
    Client,
    /// Sent, not yet in the server's socket.
    Request,
    /// The server's socket is readable and nobody has read it.
    ServerBuffer,
    /// Read by the server, no answer sent yet.
    Server,
    /// Sent by the server, not yet in the client's socket.
    Response,
    /// The client's socket is readable and nobody has read it.
    ClientBuffer,
}

impl Place {
    pub const ALL: [Place; 6] =
        [Place::Client, Place::Request, Place::ServerBuffer, Place::Server, Place::Response, Place::ClientBuffer];

    pub fn index(self) -> usize {
        self as usize
    }

    /// Sent by one end, not yet at the other.
    pub fn on_network(self) -> bool {
        matches!(self, Place::Request | Place::Response)
    }
}

/// Its name in JSON and in presets: `server_buffer`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

pub const PLACES: usize = Place::ALL.len();
/// Hops that the program tells apart, and connections of each: one a client's port, or a number given to a Unix socket.
pub const HOPS: usize = 4;
pub const PORTS: usize = 65_536;
/// Connections over Unix sockets that are followed at most, of all hops; of those that have ended too.
pub const SOCKETS: usize = 16_384;
/// u64 words of the name of a Unix socket, zeros behind it (108 bytes at most: unix(7)).
pub const NAME_WORDS: usize = 14;
/// Stays are counted by powers of two of ns.
pub const BUCKETS: usize = 64;

/// `struct connection`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// When it came into its place, ns of `CLOCK_MONOTONIC`; 0: never seen.
    pub since: u64,
    pub place: u32,
    /// 1: the client's end was seen, 2: the server's.
    pub sides: u32,
    /// ns in each place until `since`.
    pub nanos: [u64; PLACES],
    pub queries: u64,
    pub pipelined: u64,
    pub pieces: u64,
    /// The program's own, of the query whose timeline it takes.
    pub sampled: [u64; 5],
}

/// `struct timeline`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    pub sent: u64,
    /// ns in each place but the client's.
    pub spent: [u32; PLACES - 1],
    pub requests: u32,
    pub before: u32,
    pub after: u32,
    pub port: u16,
    pub hop: u16,
    pub reserved: u32,
}

/// `struct sampling`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    pub every: [u32; HOPS],
    pub lost: [u64; HOPS],
    pub asked: u64,
    pub answered: u64,
    pub requests: u64,
    pub numbered: u64,
    /// Events over Unix sockets whose connection had no number left.
    pub unnumbered: u64,
    pub reserved: u64,
}

const _: () = assert!(size_of::<Connection>() == 128 && size_of::<Timeline>() == 48 && size_of::<Sampling>() == 96);
