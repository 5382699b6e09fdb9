//! What a profile's columns count. Invariant: a kind is stored as its name; one that this version does not know
//! keeps it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Kind of a column, by pprof's name of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ColumnKind {
    /// Samples taken.
    Samples,
    /// CPU time.
    Cpu,
    /// CPU cycles.
    Cycles,
    /// Waits that ended.
    Switches,
    /// Time blocked.
    Blocked,
    /// Time waiting for a CPU.
    Runnable,
    /// Time that the carriers of queries waited.
    Waited,
    /// Another one, of an imported profile.
    Other(String),
}

impl ColumnKind {
    /// Its name, as it is stored.
    pub fn as_str(&self) -> &str {
        match self {
            ColumnKind::Samples => "samples",
            ColumnKind::Cpu => "cpu",
            ColumnKind::Cycles => "cycles",
            ColumnKind::Switches => "switches",
            ColumnKind::Blocked => "blocked",
            ColumnKind::Runnable => "runnable",
            ColumnKind::Waited => "waited",
            ColumnKind::Other(name) => name,
        }
    }
}

impl From<&str> for ColumnKind {
    fn from(name: &str) -> ColumnKind {
        match name {
            "samples" => ColumnKind::Samples,
            "cpu" => ColumnKind::Cpu,
            "cycles" => ColumnKind::Cycles,
            "switches" => ColumnKind::Switches,
            "blocked" => ColumnKind::Blocked,
            "runnable" => ColumnKind::Runnable,
            "waited" => ColumnKind::Waited,
            other => ColumnKind::Other(other.to_string()),
        }
    }
}

impl From<String> for ColumnKind {
    fn from(name: String) -> ColumnKind {
        ColumnKind::from(name.as_str())
    }
}

impl From<ColumnKind> for String {
    fn from(kind: ColumnKind) -> String {
        kind.as_str().to_string()
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        use ColumnKind::*;
        for kind in [Samples, Cpu, Cycles, Switches, Blocked, Runnable, Waited, Other("alloc_space".into())] {
            assert_eq!(ColumnKind::from(kind.to_string()), kind);
        }
    }
}
