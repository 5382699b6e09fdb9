//! Shapes shared with the kernel's program (`bpf/places.h`), which asserts the same offsets when it is compiled.

use crate::bpf::assert_shape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a query is, in the order of the program's `enum place`; a connection is in one of them at every instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The client has the last answer and has not sent the next query: it thinks, works, or keeps the connection in a
    /// pool.
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
    /// All places in the order of the path, which is that of the program's `enum place`.
    pub const ALL: [Place; 6] =
        [Place::Client, Place::Request, Place::ServerBuffer, Place::Server, Place::Response, Place::ClientBuffer];

    /// Its number in `enum place`, 0..[`PLACES`].
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

/// How many places there are.
pub const PLACES: usize = Place::ALL.len();

/// An end of a connection, as the bit that the program's `enum side` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Side {
    /// The end that sends queries.
    Client = 1,
    /// The end that answers them.
    Server = 2,
}

impl Side {
    /// Whether events of this end of the connection were seen.
    pub fn seen_in(self, connection: &Connection) -> bool {
        connection.sides & self as u32 != 0
    }
}

/// Hops that the program tells apart, and connections of each: one a client's port, or a number given to a Unix socket.
pub const HOPS: usize = 4;
pub const PORTS: usize = 65_536;
/// Connections over Unix sockets that are followed at most, of all hops; of those that have ended too.
pub const SOCKETS: usize = 16_384;
/// u64 words of the name of a Unix socket, zeros behind it (108 bytes at most: unix(7)).
pub const NAME_WORDS: usize = 14;
/// Stays are counted by powers of two of ns.
pub const BUCKETS: usize = 64;

/// One connection so far: `struct connection` of `bpf/places.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// When it came into its place, ns of `CLOCK_MONOTONIC`; 0: never seen.
    pub since: u64,
    /// Where it is now: [`Place::index`].
    pub place: u32,
    /// The ends of which events were seen: see [`Side::seen_in`].
    pub sides: u32,
    /// ns in each place until `since`.
    pub nanos: [u64; PLACES],
    /// Queries sent so far.
    pub queries: u64,
    /// Requests so far that were sent before the answer to the one before was read.
    pub pipelined: u64,
    /// Times so far that an end went on sending or reading within one query.
    pub pieces: u64,
    /// The program's own, of the query whose timeline it takes (`sampled` to `after`): of no use elsewhere.
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
    /// By hop: changes of place by a clock that was read before the change that came first; no time passed in them.
    pub reversed: [u64; HOPS],
    pub reserved: u64,
}

assert_shape!(Connection, 128: since 0, place 8, sides 12, nanos 16, queries 64, pipelined 72, pieces 80, sampled 88);
assert_shape!(Timeline, 48: sent 0, spent 8, requests 28, before 32, after 36, port 40, hop 42, reserved 44);
assert_shape!(
    Sampling, 128: every 0, lost 16, asked 48, answered 56, requests 64, numbered 72, unnumbered 80,
    reversed 88, reserved 120
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// Of the connection after one event, as `bpf/places_host.c` writes it.
    #[derive(Debug, PartialEq, Eq)]
    struct After {
        since: u64,
        place: u64,
        sides: u32,
        reversed: u64,
        longest: u64,
        queries: u64,
        nanos: [u64; PLACES],
    }

    const CLIENT: u32 = Side::Client as u32;
    const SERVER: u32 = Side::Server as u32;

    /// Drives the program's own state machine, compiled for this host, with events `(end, what, clock)`.
    fn drive(events: &[(u32, char, u64)]) -> Vec<After> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("places");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-I"]).arg(sources.join("bpf"));
        let compiled = compiler.arg(sources.join("wire/bpf/places_host.c")).arg("-o").arg(&program).output();
        let compiled = compiled.expect("cc, which links Rust's programs too");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let lines: String = events.iter().map(|(end, what, now)| format!("{end} {what} {now}\n")).collect();
        let mut running =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("what was compiled");
        running.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = String::from_utf8(running.wait_with_output().unwrap().stdout).unwrap();
        let after = |line: &str| {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [since, place, sides, reversed, longest, queries, ..] = numbers[..] else { panic!("{line}") };
            let nanos = numbers[6..].try_into().unwrap();
            After { since, place, sides: sides as u32, reversed, longest, queries, nanos }
        };
        output.lines().map(after).collect()
    }

    #[test]
    fn a_query_passes_every_place_and_its_times_are_the_differences_of_the_clock() {
        let query = [
            (CLIENT, 's', 100),
            (SERVER, 'r', 110),
            (SERVER, 'g', 130),
            (SERVER, 's', 170),
            (CLIENT, 'r', 250),
            (CLIENT, 'g', 410),
        ];
        let after = drive(&query);
        let last = after.last().unwrap();
        assert_eq!(last.nanos, [0, 10, 20, 40, 80, 160]);
        assert_eq!((last.since, last.reversed, last.queries), (410, 0, 1));
        let seen = Connection { sides: last.sides, ..Connection::default() };
        assert!(Side::Client.seen_in(&seen) && Side::Server.seen_in(&seen));
        let places: Vec<u64> = after.iter().map(|after| after.place).collect();
        let wanted = [Place::Request, Place::ServerBuffer, Place::Server, Place::Response, Place::ClientBuffer];
        assert_eq!(places[..5], wanted.map(|place| place.index() as u64));
    }

    #[test]
    fn a_clock_that_was_read_before_the_last_change_counts_as_no_time_and_is_told() {
        // The answer was sent at 900, and readable at 1,000; its reader had read its own clock at 990 and was held up.
        let events = [(CLIENT, 's', 100), (SERVER, 'r', 200), (SERVER, 'g', 300), (SERVER, 's', 900)];
        let late = [(CLIENT, 'r', 1_000), (CLIENT, 'g', 990), (CLIENT, 's', 1_500)];
        let after = drive(&[&events[..], &late[..]].concat());
        assert_eq!(after[5].nanos, [0, 100, 100, 600, 100, 0]);
        assert_eq!((after[5].since, after[5].reversed), (1_000, 1), "the time from 990 to 1,000 is not counted twice");
        assert_eq!((after[6].nanos[0], after[6].reversed), (500, 1));
        assert!(after[6].longest < 10, "the longest stay took 600 ns: {:?}", after[6]);
    }

    #[test]
    fn whatever_the_clocks_do_the_places_sum_to_the_time_that_passed() {
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut events = vec![(CLIENT, 's', 1_000_000)];
        for step in 1..5_000 {
            let clock = 1_000_000 + step * 100 + next(400);
            events.push(([CLIENT, SERVER][next(2) as usize], ['s', 'r', 'g'][next(3) as usize], clock));
        }
        let after = drive(&events);
        assert_eq!(after.len(), events.len());
        let mut latest = 0;
        for after in &after {
            assert!(after.since >= latest, "the clock of a connection goes back: {after:?}");
            latest = after.since;
            assert_eq!(after.nanos.iter().sum::<u64>(), after.since - 1_000_000);
        }
        let last = after.last().unwrap();
        assert!(last.reversed > 100 && last.longest < 12, "{last:?}");
    }
}
