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
    Metrics = "metrics",
    /// Scrapes between the first and the last.
    MetricsInside = "metrics inside the window",
    Profile = "profile",
    OffCpuStacks = "off-CPU stacks",
    LostSamples = "lost samples",
    SampleCounts = "sample counts",
    /// How long an imported profile was taken for.
    ProfileSeconds = "the profile's seconds",
    Statements = "statements",
    Scheduler = "scheduler",
    /// Where queries are, from the sockets.
    Places = "places",
    Timelines = "timelines",
    /// Whether reads see acknowledged writes.
    ReadAfterWrite = "read after write",
    /// The number of completed queries.
    Queries = "queries",
    Latency = "latency",
    LatencyDistribution = "latency distribution",
    RowCounts = "row counts",
    Sessions = "sessions",
    Errors = "errors",
    /// When the window was, on any clock.
    Times = "times",
    TargetStartTime = "target start time",
    Clients = "the number of clients",
    SteadyClients = "a steady number of clients",
    /// The working copy that the target was built from.
    Source = "source",
    /// Of the observer's own cost: a timer alone.
    Timer = "timer",
    AllInstruments = "all",
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
