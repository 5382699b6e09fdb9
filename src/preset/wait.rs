//! Kinds of waits, told by the functions in the stack of a thread that is off its CPU, or by the wait event that the
//! server says it is in. Invariant: the first entry that fits tells the kind; a preset's own entries are tried before
//! the inherited ones.

use super::{Pattern, Preset, WaitEventName};
use serde::{Deserialize, Serialize};

/// Why a thread is blocked, as far as its stack tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// A lock that threads of the program take from each other: mutexes and the like.
    Lock,
    /// A lock of the server's own on its shared structures, taken for as long as it touches them.
    LightweightLock,
    /// A lock that another transaction holds, until it ends: on a row, a table, a transaction.
    RowLock,
    /// Until what was written is on the disk: the server's own log, or a file.
    Flush,
    /// Reading and writing files.
    Disk,
    /// A sleep of a given time.
    Sleep,
    /// The client: its next request, or until it has room for the answer.
    Client,
    /// Work, a notification or data: event loops, receiving, parked and idle threads, condition variables. A server
    /// that waits for the database behind it with a blocking call waits here too.
    Work,
    /// Everything else.
    Other,
}

impl WaitKind {
    /// All kinds.
    pub const ALL: [WaitKind; 9] = [
        WaitKind::Lock,
        WaitKind::LightweightLock,
        WaitKind::RowLock,
        WaitKind::Flush,
        WaitKind::Disk,
        WaitKind::Sleep,
        WaitKind::Client,
        WaitKind::Work,
        WaitKind::Other,
    ];

    /// A thread that waits for this has nothing to do.
    pub fn idle(self) -> bool {
        matches!(self, WaitKind::Client | WaitKind::Work)
    }

    /// Others hold what is waited for.
    pub fn lock(self) -> bool {
        matches!(self, WaitKind::Lock | WaitKind::LightweightLock | WaitKind::RowLock)
    }
}

/// One way to tell a wait by its stack: of each list of functions that is given a frame must match. Or by the wait
/// event, where the stack is not known: one of `events` must match.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// What is waited for, as reports name it; entries of an inheriting preset replace those of the same name.
    pub name: String,
    /// Which kind of wait it is.
    pub kind: WaitKind,
    /// Functions of the program, its libraries or the kernel.
    #[serde(default)]
    pub any: Vec<Pattern>,
    /// Functions of the program or its libraries.
    #[serde(default)]
    pub user: Vec<Pattern>,
    /// Functions of the kernel.
    #[serde(default)]
    pub kernel: Vec<Pattern>,
    /// No function of the program or its libraries may match any of these.
    #[serde(default)]
    pub unless: Vec<Pattern>,
    /// Wait events as [`WaitEventName`] shows them, `CLASS:EVENT`. An entry without functions is told by these alone.
    #[serde(default)]
    pub events: Vec<Pattern>,
    /// Of the functions of those lists the ones that a thread passes through also where it waits for nothing: CPU in
    /// them tells no wait, unless it is in another function of the lists.
    #[serde(default)]
    pub passed: Vec<Pattern>,
}

impl Preset {
    /// The kind of wait that a wait event belongs to; `None`: no entry of the preset names it.
    pub fn wait_of_event(&self, event: &WaitEventName) -> Option<&Wait> {
        let shown = event.to_string();
        self.wait.iter().find(|wait| wait.events.iter().any(|pattern| pattern.0.is_match(&shown)))
    }
}
