//! What round trips behind the server are for: the statement of each, as the kernel's program read it in the request
//! (`bpf/uses.h`), or as the database tells of the connection. Invariant: a statement is told only where it was read or
//! where nothing else was sent on the connection meanwhile; all other round trips say why theirs is not told, and with
//! them the uses of a hop sum to its round trips and, to the exactness of the snapshots, to its places.

use super::shapes::{Connection, HOPS, PLACES, Place, Use, UseTime};
use super::timeline::{HopSnapshot, WireSnapshot, settled};
use crate::clock::Nanos;
use crate::sql::{Activity, without_constants};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a round trip is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A statement, by its text without constants; cut where it is long.
    Statement(String),
    /// Preparing a statement, and no more.
    Preparing(String),
    /// The beginning of a session: start-up, authentication.
    Session,
    /// A message that names no statement, by its type: `E` goes on with a result, `d` is data of a COPY.
    Message(char),
    /// It is not known, and why.
    NotTold(Untold),
}

/// Why the statement of a round trip is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Untold {
    /// Its request was not read: it began before, this kernel does not tell of sending, or it lies in no program's
    /// memory.
    NotSeen,
    /// The connection is encrypted.
    Encrypted,
    /// More uses than are told apart.
    NoRoom,
    /// The statement was prepared before the sockets were followed, and the database did not tell of the connection.
    PreparedBefore,
}

/// The round trips for one use within a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseDelta {
    /// What they are for.
    #[serde(rename = "use")]
    pub purpose: Purpose,
    /// Round trips that began in the window.
    pub round_trips: u64,
    /// Of those, how many are told by what the database said of their connection: the statement had been prepared
    /// before the sockets were followed.
    #[serde(default)]
    pub by_database: u64,
    /// ns in each place, in the order of the path; the client's is 0, for nobody uses the connection then.
    pub nanos: [u64; PLACES],
}

/// A use so far, as a snapshot has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseSoFar {
    /// What is known of it.
    pub met: Met,
    /// ns in each place, and round trips, until now.
    pub time: UseTime,
}

/// What is known of a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// As it will be told.
    Known(Purpose),
    /// A statement prepared before, by its name on this client's connection.
    Named {
        /// The client's end, as snapshots have it.
        client: u32,
    },
    /// A statement that the database told.
    Told(String),
}

/// Which use a connection's round trip counts for where none was seen to begin, and the first that is numbered.
/// `enum special` of `bpf/uses.h`.
const SPECIALS: u16 = 4;
pub(super) const FIRST_NUMBER: u16 = SPECIALS * HOPS as u16;

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Statement(text) => f.write_str(text),
            Purpose::Preparing(text) => write!(f, "preparing: {text}"),
            Purpose::Session => f.write_str("beginning a session"),
            Purpose::Message(kind) => write!(f, "a message that names no statement ({kind})"),
            Purpose::NotTold(why) => write!(f, "not told: {why}"),
        }
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Untold::NotSeen => "the request could not be read at the socket",
            Untold::Encrypted => "the connection is encrypted",
            Untold::NoRoom => "there are more statements than are told apart",
            Untold::PreparedBefore => {
                "the statement was prepared before the sockets were followed, and the database does not tell of it"
            }
        })
    }
}

impl Purpose {
    /// The text of the statement that is executed; `None` for whatever is no execution of one.
    pub fn statement(&self) -> Option<&str> {
        match self {
            Purpose::Statement(text) => Some(text),
            _ => None,
        }
    }
}

/// The uses of a hop behind that need no number, by where their times are.
pub(super) fn specials(hop: usize) -> Vec<(u16, Met)> {
    let untold = [Untold::NotSeen, Untold::Encrypted, Untold::NoRoom].map(Purpose::NotTold);
    let all = untold.into_iter().chain([Purpose::Session]).enumerate();
    all.map(|(at, purpose)| (2 * (hop as u16 * SPECIALS + at as u16), Met::Known(purpose))).collect()
}

/// What the kernel's program wrote of a numbered use: of the round trips that execute, and of those that prepare.
/// `client`: the client's end of a connection, by where it is among the connections.
pub(super) fn met(found: &Use, client: impl Fn(u32) -> u32) -> Option<[Met; 2]> {
    let length = found.text.iter().position(|byte| *byte == 0).unwrap_or(found.text.len());
    let text = || {
        let mut text = without_constants(&String::from_utf8_lossy(&found.text[..length]));
        if found.cut != 0 {
            text.push('…');
        }
        text
    };
    match found.kind {
        1 => Some([Purpose::Statement(text()), Purpose::Preparing(text())].map(Met::Known)),
        2 => Some([(); 2].map(|()| Met::Named { client: client(found.connection) })),
        3 => Some([(); 2].map(|()| Met::Known(Purpose::Message(found.message.into())))),
        // It is being written.
        _ => None,
    }
}

impl UseSoFar {
    fn purpose(&self) -> Purpose {
        match &self.met {
            Met::Known(purpose) => purpose.clone(),
            Met::Named { .. } => Purpose::NotTold(Untold::PreparedBefore),
            Met::Told(text) => Purpose::Statement(text.clone()),
        }
    }
}

impl WireSnapshot {
    /// Whether on this hop some statement is known by its name alone.
    pub fn has_named(&self, hop: usize) -> bool {
        let uses = self.hops.get(hop).and_then(|hop| hop.uses.as_ref());
        uses.is_some_and(|uses| uses.values().any(|found| matches!(found.met, Met::Named { .. })))
    }

    /// The statements of named uses, by what a database said of its connections between `self` and `after`, when
    /// nothing else was sent on them. `None`: what it says is not of this hop's sockets (something stands between, or
    /// it does not say which session asked).
    pub fn learn(&self, after: &WireSnapshot, hop: usize, told: &[Activity]) -> Option<BTreeMap<u16, String>> {
        let (before, after) = (self.hops.get(hop)?, after.hops.get(hop)?);
        let asked = |port: u32| {
            let queries = |at: &HopSnapshot| at.connections.get(&port).map_or(0, |connection| connection.queries);
            queries(after) > queries(before)
        };
        told.iter().any(|row| row.own && asked(row.port.into())).then_some(())?;
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<u16> = told.iter().map(|row| row.port).filter(|port| !seen.insert(*port)).collect();
        let statement = |row: &Activity| {
            let client = u32::from(row.port);
            let (start, end) = (before.connections.get(&client)?, after.connections.get(&client)?);
            let same = (start.for_use, start.changes, start.generation) == (end.for_use, end.changes, end.generation);
            let named = after.uses.as_ref()?.get(&end.for_use)?.met == Met::Named { client };
            let told = same && named && !row.query.is_empty() && !twice.contains(&row.port);
            told.then(|| (end.for_use, without_constants(&row.query)))
        };
        Some(told.iter().filter(|row| !row.own).filter_map(statement).collect())
    }

    /// Tells the statements of named uses.
    pub fn tell(&mut self, hop: usize, statements: &BTreeMap<u16, String>) {
        let Some(uses) = self.hops.get_mut(hop).and_then(|hop| hop.uses.as_mut()) else { return };
        for (at, text) in statements {
            if let Some(found) = uses.get_mut(at).filter(|found| matches!(found.met, Met::Named { .. })) {
                found.met = Met::Told(text.clone());
            }
        }
    }
}

/// The time of some uses, in which one that is under way at an end of the window is cut there.
pub(super) struct Tally<'a> {
    before: &'a HopSnapshot,
    after: &'a HopSnapshot,
    hop: usize,
    /// ns in each place, by use; what was under way before is taken away.
    nanos: BTreeMap<u16, [i128; PLACES]>,
}

impl<'a> Tally<'a> {
    pub fn new(hop: usize, before: &'a HopSnapshot, after: &'a HopSnapshot) -> Self {
        Tally { before, after, hop, nanos: BTreeMap::new() }
    }

    /// A connection on which something happened, and when the two snapshots were taken.
    pub fn add(&mut self, (start, from): (&Connection, Nanos), (end, to): (&Connection, Nanos)) {
        for (connection, at, sign) in [(start, from, -1), (end, to, 1)] {
            let place = usize::from(connection.place);
            if connection.since == 0 || place == Place::Client.index() || place >= PLACES {
                continue;
            }
            let under_way = i128::from(at.saturating_sub(connection.since));
            self.of_use(connection)[place] += sign * under_way;
        }
    }

    /// Time before the window, not above 0, that a connection was taken to spend at the client and that the kernel's
    /// program counted for its use in the window: see [`settled`].
    pub fn take_from_server(&mut self, start: &Connection, nanos: i128) {
        self.of_use(start)[Place::Server.index()] += nanos;
    }

    fn of_use(&mut self, connection: &Connection) -> &mut [i128; PLACES] {
        let not_seen = 2 * (self.hop as u16 * SPECIALS);
        self.nanos.entry(if connection.for_use == 0 { not_seen } else { connection.for_use }).or_default()
    }

    /// The window's uses, those of one statement as one, most time first; `None` where they are not told apart.
    pub fn uses(mut self) -> Option<Vec<UseDelta>> {
        let nothing = UseTime::default();
        let mut found: BTreeMap<Purpose, UseDelta> = BTreeMap::new();
        for (at, so_far) in self.after.uses.as_ref()? {
            let start = self.before.uses.as_ref().and_then(|uses| uses.get(at)).map_or(&nothing, |found| &found.time);
            let under_way = self.nanos.remove(at).unwrap_or_default();
            let round_trips = so_far.time.round_trips.saturating_sub(start.round_trips);
            let nanos = settled(std::array::from_fn(|place| {
                let ended = i128::from(so_far.time.nanos[place]) - i128::from(start.nanos[place]);
                ended + under_way[place]
            }));
            if round_trips == 0 && nanos.iter().sum::<u64>() == 0 {
                continue;
            }
            let purpose = so_far.purpose();
            let nothing = || UseDelta { purpose: purpose.clone(), round_trips: 0, by_database: 0, nanos: [0; PLACES] };
            let sum = found.entry(purpose.clone()).or_insert_with(nothing);
            sum.round_trips += round_trips;
            sum.by_database += if matches!(so_far.met, Met::Told(_)) { round_trips } else { 0 };
            sum.nanos.iter_mut().zip(nanos).for_each(|(sum, more)| *sum += more);
        }
        let mut uses: Vec<UseDelta> = found.into_values().collect();
        uses.sort_by_key(|found| std::cmp::Reverse(found.nanos.iter().sum::<u64>()));
        Some(uses)
    }
}
