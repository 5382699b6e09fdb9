//! Causes as a sentence has them. Invariant: whoever reads one needs no other document.

use crate::analyze::judge::diagnose::Confidence;
use crate::preset::Cause;

/// A cause as the end of a sentence: "At 64 clients ...".
pub(super) fn phrase(cause: Cause) -> &'static str {
    match cause {
        Cause::SlowPath => "another code path was measured than the one in focus",
        Cause::Churn => "sessions came and went, which costs the server time of its own",
        Cause::Generator => "the load generator is the limit, not the server",
        Cause::OtherProcesses => "other processes take the CPUs",
        Cause::CpuFunction => "one function takes much of the CPU",
        Cause::Allocator => "allocating and freeing memory takes much of the CPU",
        Cause::SaturatedThread => "one thread of the server is busy all the time",
        Cause::Lock => "queries wait for a lock",
        Cause::LightweightLock => "queries wait for a lock on the server's own shared structures",
        Cause::RowLock => "transactions wait for each other's locks",
        Cause::Flush => "queries wait until their data is on the disk",
        Cause::Disk => "queries wait for files to be read or written",
        Cause::Sleep => "the server sleeps while it has queries in its hands",
        Cause::BlockedRuntime => "calls that block hold the runtime's worker threads",
        Cause::DatabaseService => "the database behind the server takes long for its statement",
        Cause::DatabasePath => "the way to the database, or the server's call path to it, takes long",
        Cause::DatabaseStarved => "the database behind the server waits for a CPU",
        Cause::BatchQueue => "queries wait for the next shared call",
        Cause::Slots => "all shared calls that may be under way are under way",
        Cause::Pool => "calls wait for a connection of the pool",
        Cause::NetworkBetweenHosts => "queries are on the network between the two hosts",
        Cause::Wait => "queries wait inside the server",
        Cause::Queued => "tasks that are ready wait for a worker of the runtime",
        Cause::CpuLimit => "the server uses all of the few CPUs that it may use",
        Cause::CpuSaturated => "the CPUs are saturated",
        Cause::NoSingleCause => "no single cause explains the latency",
    }
}

/// What its effect would come of, as the beginning of a sentence: it is not always the function that is named with the
/// cause that would be gone. `None`: there is no one cause to be without.
pub(super) fn without(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::CpuLimit => Some("With all of the machine's CPUs"),
        Cause::CpuSaturated => Some("With a CPU for each client"),
        Cause::NoSingleCause => None,
        _ => Some("Without it"),
    }
}

/// What stands before a cause that is not a confident one.
pub(super) fn certain(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Confident => "",
        Confidence::Masked => "masked by saturated CPUs: ",
        Confidence::Possible => "possibly ",
    }
}
