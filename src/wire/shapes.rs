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
    /// On the network, of both ways together: where the two ends are on two hosts, whose clocks do not tell a request's
    /// way from its answer's. The kernel's programs do not know it; see [`super::HopDelta::ways_together`].
    Network,
}

impl Place {
    /// All places that the program tells, in the order of the path, which is that of its `enum place`.
    pub const ALL: [Place; 6] =
        [Place::Client, Place::Request, Place::ServerBuffer, Place::Server, Place::Response, Place::ClientBuffer];

    /// Those and [`Place::Network`], which follows them.
    pub const EVERY: [Place; 7] = [
        Place::Client,
        Place::Request,
        Place::ServerBuffer,
        Place::Server,
        Place::Response,
        Place::ClientBuffer,
        Place::Network,
    ];

    /// Its number in `enum place`, 0..[`PLACES`]; of the network both ways the next one.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Sent by one end, not yet at the other.
    pub fn on_network(self) -> bool {
        matches!(self, Place::Request | Place::Response | Place::Network)
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
        u32::from(connection.sides) & self as u32 != 0
    }
}

/// Hops that the program tells apart, and connections of each: one a client's port, or a number given to a Unix socket.
pub const HOPS: usize = 4;
pub const PORTS: usize = 65_536;
/// Connections over Unix sockets that are followed at most, of all hops; of those that have ended too.
pub const SOCKETS: usize = 16_384;
/// u64 words of the name of a Unix socket, zeros behind it (108 bytes at most: unix(7)).
pub const NAME_WORDS: usize = 14;
/// Uses that are told apart, of all hops, with those that say why one is not told; and bytes of a statement's text.
pub const USES: usize = 512;
pub const TEXT: usize = 496;
/// Stays are counted by powers of two of ns.
pub const BUCKETS: usize = 64;

/// One connection so far: `struct connection` of `bpf/places.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// When it came into its place, ns of `CLOCK_MONOTONIC`; 0: never seen.
    pub since: u64,
    /// Where it is now: [`Place::index`].
    pub place: u8,
    /// The program's own: whether the last answer has ended.
    pub answer: u8,
    /// What its round trip is for, on a hop behind: twice the number of the use, and 1 more where it only prepares a
    /// statement. 0: none was seen to begin.
    pub for_use: u16,
    /// The ends of which events were seen: see [`Side::seen_in`].
    pub sides: u8,
    /// Sessions so far that began on this port.
    pub generation: u8,
    /// Times so far that a round trip was for something else than the one before.
    pub changes: u16,
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

/// What round trips are for: `struct use` of `bpf/uses.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub key: u64,
    /// Of a named one: where its connection is among the connections.
    pub connection: u32,
    /// 0: none; 1: a statement by its text; 2: by its name on its connection; 3: by a message's type.
    pub kind: u8,
    pub hop: u8,
    pub message: u8,
    /// 1: the text is longer.
    pub cut: u8,
    pub text: [u8; TEXT],
}

/// `struct use_time`, of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseTime {
    /// ns in each place.
    pub nanos: [u64; PLACES],
    /// Round trips that began.
    pub round_trips: u64,
    /// Nothing.
    pub reserved: u64,
}

// SAFETY: plain numbers without padding (asserted below), any bytes of which are one.
unsafe impl aya::Pod for UseTime {}

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
    /// Uses that were numbered so far.
    pub uses: u32,
    /// Statements' names for which there was no room.
    pub unnamed: u32,
}

assert_shape!(
    Connection, 128: since 0, place 8, answer 9, for_use 10, sides 12, generation 13, changes 14, nanos 16, queries 64,
    pipelined 72, pieces 80, sampled 88
);
assert_shape!(Use, 512: key 0, connection 8, kind 12, hop 13, message 14, cut 15, text 16);
assert_shape!(UseTime, 64: nanos 0, round_trips 48);
assert_shape!(Timeline, 48: sent 0, spent 8, requests 28, before 32, after 36, port 40, hop 42, reserved 44);
assert_shape!(
    Sampling, 128: every 0, lost 16, asked 48, answered 56, requests 64, numbered 72, unnumbered 80,
    reversed 88, uses 120, unnamed 124
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
        sides: u8,
        reversed: u64,
        longest: u64,
        queries: u64,
        for_use: u64,
        changes: u64,
        answer: u64,
        nanos: [u64; PLACES],
    }

    const CLIENT: u32 = Side::Client as u32;
    const SERVER: u32 = Side::Server as u32;

    /// Drives the program's own state machine, compiled for this host, with events `(end, what, clock)` of the load's
    /// hop.
    fn drive(events: &[(u32, char, u64)]) -> Vec<After> {
        let lines: String = events.iter().map(|(end, what, now)| format!("{end} {what} {now} 0 1 -\n")).collect();
        run(&lines).0
    }

    /// The connection after each line's event, and at the end `(use, round trips, ns)`.
    fn run(lines: &str) -> (Vec<After>, Vec<[u64; 3]>) {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("places");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-I"]).arg(sources.join("bpf"));
        let compiled = compiler.arg(sources.join("wire/bpf/places_host.c")).arg("-o").arg(&program).output();
        let compiled = compiled.expect("cc, which links Rust's programs too");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let mut running =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("what was compiled");
        running.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = String::from_utf8(running.wait_with_output().unwrap().stdout).unwrap();
        let after = |line: &str| {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [since, place, sides, reversed, longest, queries, for_use, changes, answer, ..] = numbers[..] else {
                panic!("{line}")
            };
            let nanos = numbers[9..].try_into().unwrap();
            After { since, place, sides: sides as u8, reversed, longest, queries, for_use, changes, answer, nanos }
        };
        let (uses, events): (Vec<&str>, Vec<&str>) = output.lines().partition(|line| line.starts_with("= "));
        let of_use = |line: &&str| -> [u64; 3] {
            let numbers: Vec<u64> = line[2..].split(' ').map(|number| number.parse().unwrap()).collect();
            numbers.try_into().unwrap()
        };
        (events.into_iter().map(after).collect(), uses.iter().map(of_use).collect())
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

    /// A message of the protocol, in hexadecimal.
    fn message(kind: char, body: &[u8]) -> String {
        let length = (body.len() as u32 + 4).to_be_bytes();
        let bytes = (kind != '\0').then_some(kind as u8).into_iter().chain(length).chain(body.iter().copied());
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// Round trips of 50 ns on a hop behind, 30 of them in the server's hands: the use of each.
    fn uses_of(requests: &[String]) -> (Vec<u64>, Vec<[u64; 3]>) {
        let answer = message('Z', b"I");
        let lines: String = requests
            .iter()
            .enumerate()
            .map(|(at, request)| {
                let at = 1_000 * (at + 1);
                let trip = [(CLIENT, 's', 0, request), (SERVER, 'r', 5, &"-".into()), (SERVER, 'g', 10, &"-".into())];
                let back = [(SERVER, 's', 40, &answer), (CLIENT, 'r', 45, &"-".into()), (CLIENT, 'g', 50, &"-".into())];
                let line = |(end, what, after, bytes): &(u32, char, usize, &String)| {
                    format!("{end} {what} {} 1 1 {bytes}\n", at + after)
                };
                trip.iter().chain(&back).map(line).collect::<String>()
            })
            .collect();
        let (after, uses) = run(&lines);
        (after.chunks(6).map(|trip| trip[5].for_use).collect(), uses)
    }

    fn parse(name: &str, text: &str) -> String {
        message('P', format!("{name}\0{text}\0\0\0").as_bytes())
    }

    fn bind(name: &str) -> String {
        [message('B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()), message('E', b"\0\0\0\0\0"), message('S', b"")]
            .concat()
    }

    #[test]
    fn a_round_trip_is_for_the_statement_that_its_request_names_whatever_its_constants() {
        let query = |text: &str| message('Q', format!("{text}\0").as_bytes());
        let (found, uses) = uses_of(&[
            query("select 1, 'a'"),
            query("SELECT  22 , 'it''s' /* at 12 */"),
            query("select 1, a"),
            [parse("s1", "select $1"), message('D', b"Ss1\0"), message('S', b"")].concat(),
            bind("s1"),
            [parse("", "select $1"), bind("")].concat(),
            bind(""),
            query("select $1"),
            query("select $2"),
        ]);
        assert_eq!(found[0], found[1]);
        assert!(found[2] != found[0] && found[3] % 2 == 1, "what only prepares is a use of its own: {found:?}");
        assert_eq!(found[3], found[4] + 1);
        assert!(found[4..8].iter().all(|for_use| *for_use == found[4]) && found[8] != found[4], "{found:?}");
        assert_eq!(uses.iter().map(|of| of[1]).sum::<u64>(), 9, "every round trip has one use");
        assert!(uses.iter().all(|[_, trips, nanos]| *nanos == 50 * trips), "{uses:?}");
    }

    #[test]
    fn what_cannot_be_read_is_for_no_statement_and_a_new_session_knows_no_names() {
        let start_up = message('\0', b"\0\x03\0\0user\0me\0\0");
        let prepare = [parse("s1", "select 1"), message('S', b"")].concat();
        let tls = "170303004000112233445566".to_string();
        let (found, _) = uses_of(&[prepare, bind("s1"), start_up, bind("s1"), tls, "-".into(), bind("s2"), bind("s1")]);
        // `enum special`: not seen, encrypted, no room, session; of hop 1.
        assert_eq!([found[2], found[4], found[5]], [2 * 7, 2 * 5, 2 * 4]);
        assert!(found[3] != found[1] && found[6] != found[3] && found[7] == found[3], "{found:?}");
    }

    #[test]
    fn a_notification_to_an_idle_client_is_in_no_place_of_a_query_and_a_late_part_of_an_answer_is() {
        let notification = message('A', b"\0\0\0\x07channel\0\0");
        let (row, end) = (message('D', b"\0\0"), message('Z', b"I"));
        let drive = |first: &str, second: &str| {
            let lines = format!(
                "1 s 100 0 1 -\n2 r 105 0 1 -\n2 g 110 0 1 -\n2 s 140 0 1 {first}\n1 r 145 0 1 -\n1 g 150 0 1 -\n\
                 2 s 900150 0 1 {second}\n1 r 900155 0 1 -\n1 g 900160 0 1 -\n1 s 900200 0 1 -\n"
            );
            run(&lines).0.pop().unwrap().nanos
        };
        let rows = row.clone() + &end;
        assert_eq!(drive(&rows, &notification), [900_050, 5, 5, 30, 5, 5], "nothing but the client's");
        assert_eq!(drive(&row, &rows), [40, 5, 5, 900_030, 10, 10], "in the server's hands all the while");
        assert_eq!(drive(&rows, &rows), [40, 5, 5, 900_030, 10, 10], "the answer to a further query");
    }
}
