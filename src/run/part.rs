//! The parts of a run that may be missing. Invariant: a part is stored as its name, and a name that this version
//! does not know reads as itself, so that runs of other versions stay readable.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares the parts with their names, each once.
macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident = $name:literal,)*) => {
        /// Part of a window, or of a run, that may be missing.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum Part {
            $($(#[$doc])* $part,)*
            /// By its name: of another version of wireprof.
            Other(String),
        }

        impl Part {
            /// Its name, as it is stored.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Part::$part => $name,)*
                    Part::Other(name) => name,
                }
            }
        }

        impl From<&str> for Part {
            fn from(name: &str) -> Part {
                match name {
                    $($name => Part::$part,)*
                    _ => Part::Other(name.to_string()),
                }
            }
        }
    };
}

parts! {
    /// The server's metrics at the window's start and end.
    Metrics = "metrics",
    /// Scrapes between the first and the last.
    MetricsInside = "metrics inside the window",
    /// On-CPU stacks.
    Profile = "profile",
    /// Off-CPU time by stack.
    OffCpuStacks = "off-CPU stacks",
    /// What carried the queries in the server's hands.
    Carriers = "carriers",
    /// The stacks of what carried the queries.
    CarrierStacks = "stacks of the carriers",
    /// The CPU profile that a server takes of itself.
    ServerProfile = "server's own profile",
    /// Samples of a process on another host.
    Companion = "companion on another host",
    /// How many samples were lost.
    LostSamples = "lost samples",
    /// How many samples an imported profile's weights stand for.
    SampleCounts = "sample counts",
    /// How long an imported profile was taken for.
    ProfileSeconds = "the profile's seconds",
    /// The database's statement statistics.
    Statements = "statements",
    /// CPU and run-queue time of the threads, by the kernel.
    Scheduler = "scheduler",
    /// CPU and run-queue time of the target's own threads, by the kernel.
    TargetCpu = "CPU of the target",
    /// Where queries are, from the sockets.
    Places = "places",
    /// Whole timelines of a sample of the queries, from the sockets.
    Timelines = "timelines",
    /// Whether reads see acknowledged writes.
    ReadAfterWrite = "read after write",
    /// The number of completed queries.
    Queries = "queries",
    /// The mean latency of the queries.
    Latency = "latency",
    /// Percentiles of the latency.
    LatencyDistribution = "latency distribution",
    /// Whether queries answered as many rows as before the warm-up.
    RowCounts = "row counts",
    /// How many of its sessions the client lost.
    Sessions = "sessions",
    /// How many queries failed.
    Errors = "errors",
    /// When the window was, on any clock.
    Times = "times",
    /// When the target process started, read at the window's end.
    TargetStartTime = "target start time",
    /// The number of clients of the load.
    Clients = "the number of clients",
    /// As many clients at the window's end as at its start.
    SteadyClients = "a steady number of clients",
    /// The working copy that the target was built from.
    Source = "source",
    /// The timer alone, of the instruments whose cost is measured.
    Timer = "timer",
    /// All instruments together, of those whose cost is measured.
    AllInstruments = "all",
    /// What an instrument costs the target.
    ObserverCost = "observer cost",
}

impl From<String> for Part {
    fn from(name: String) -> Part {
        Part::from(name.as_str())
    }
}

impl From<Part> for String {
    fn from(part: Part) -> String {
        part.as_str().to_string()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Missing;

    #[test]
    fn a_part_is_stored_as_its_name_and_an_unknown_name_reads_as_itself() {
        for (text, part) in [
            (r#"{"what":"off-CPU stacks","why":"w","remedy":"r"}"#, Part::OffCpuStacks),
            (r#"{"what":"of a later version","why":"w","remedy":"r"}"#, Part::Other("of a later version".into())),
        ] {
            let missing: Missing = serde_json::from_str(text).unwrap();
            assert_eq!(missing.what, part);
            assert_eq!(serde_json::to_string(&missing).unwrap(), text);
        }
    }
}
