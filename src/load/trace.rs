//! What a driver reports of one stretch of load. Invariant: a query is counted in the interval in which its last
//! row was received, exactly once; slices of 50 ms partition the span, so their counts sum to the total.

use super::{HostLoad, LoopChoice, SliceLatency, ThreadChoice, Transactions};
use crate::clock::Span;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Length of a slice in nanoseconds.
pub const SLICE: u64 = 50_000_000;

/// The load of one window, already cut to it. Stored as `load.json`; the histograms apart, as `latency.hdr`
/// (an HdrHistogram interval log with one entry a slice).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadTrace {
    /// `wireprof`, or `dbbench` with its version where the user's own drove the load.
    pub driver: String,
    /// The window that the load is cut to.
    pub span: Span,
    /// N: connections open and authenticated during the whole span, each with at most one query under way (where the
    /// load is somebody else's: the clients that the server had at its start).
    pub connections: usize,
    /// Open loop: queries scheduled per second; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Queries completed inside the span: the divisor of everything "per query".
    pub completed: u64,
    /// Where `completed` comes from: `client` or the name of a server counter.
    #[serde(rename = "divisor")]
    pub counted_by: String,
    /// Rows of the completed queries.
    pub rows: u64,
    /// Queries that answered another number of rows than the first one of its statement did before the warm-up.
    pub wrong_rows: u64,
    /// Queries that ended in an error, by kind; those that the workload accepts too.
    pub errors: Vec<ErrorCount>,
    /// Sum of the latencies of the completed queries in ns (from the scheduled start in an open loop);
    /// `None` where the driver does not tell it exactly.
    pub latency_sum: Option<u64>,
    /// What was counted while the sockets were followed, an interval within the span that begins after its first scrape
    /// and ends before its last: places are set against this latency. `None`: they were not followed, the driver does
    /// not tell, or it was recorded before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_sockets: Option<Counted>,
    /// The slices of 50 ms in order of time; empty where the driver tells only sums.
    pub slices: Vec<Slice>,
    /// Latencies in ns, 3 significant digits, 1 us .. 1 h; empty where the driver keeps none. Stored in `latency.hdr`.
    #[serde(skip, default = "empty_histogram")]
    pub latency: Histogram<u64>,
    /// What the load generator took and delayed.
    pub generator: Generator,
    /// Connections opened and lost.
    pub sessions: Sessions,
    /// Per job of the workload, in its order; per script where it consists of pgbench's.
    pub jobs: Vec<JobCount>,
    /// Runs of scripts, where the workload consists of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
    /// What another program that drove the load says of it; `None`: none did, or it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// What each of several hosts did of it; empty where one host drove it, that of the conductor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostLoad>,
}

/// What the program that drove the load says of its whole run, which is not the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// The program ran this long, from its start to its end, connecting included.
    pub ran: Span,
    /// Its jobs, as it printed them.
    pub jobs: Vec<ReportedJob>,
}

/// One job by the program's own account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedJob {
    /// As the workload names the job.
    pub name: String,
    /// Transactions that were not aborted.
    pub transactions: u64,
    /// Transactions a second; they were counted over `transactions` / `rate` seconds.
    pub rate: f64,
    /// Mean latency of a transaction in ns.
    pub latency: u64,
    /// Half of the 99 % interval of the mean, in ns.
    pub latency_deviation: u64,
}

/// An empty latency histogram: 1 us to 1 h in ns, 3 significant digits.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("constant bounds are valid")
}

/// The slices of this interval, nothing in them yet.
pub(super) fn empty_slices(span: Span) -> Vec<Slice> {
    let slice = |at| Slice {
        at,
        nanos: SLICE.min(span.nanos() - at),
        completed: 0,
        latency_sum: 0,
        latency: Some(SliceLatency::default()),
    };
    (0..span.nanos()).step_by(SLICE as usize).map(slice).collect()
}

/// The queries of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The interval.
    pub span: Span,
    /// Queries completed in it.
    pub completed: u64,
    /// Sum of their latencies in ns.
    pub latency_sum: u64,
}

/// One 50 ms slice (the last one may be shorter).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// Nanoseconds after the span's start.
    pub at: u64,
    /// Length in ns: [`SLICE`], or less for the last one.
    pub nanos: u64,
    /// Queries completed in it.
    pub completed: u64,
    /// Sum of their latencies in ns.
    pub latency_sum: u64,
    /// Their latencies in ns; `None` until they are read from `latency.hdr`.
    #[serde(skip)]
    pub latency: Option<SliceLatency>,
}

/// Errors of one kind; they are not among the completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// Five characters (PostgreSQL documentation, appendix "Error Codes"); empty where dbbench counts aborts.
    pub sqlstate: String,
    /// The server's message, of the first error of this kind.
    pub message: String,
    /// Queries that ended so in the span.
    pub count: u64,
    /// The workload declares this SQLSTATE acceptable (`error=`).
    #[serde(default)]
    pub accepted: bool,
}

/// What the generator itself cost and delayed inside the span.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Load threads; 0 where the driver does not tell.
    pub threads: usize,
    /// CPU of the generator's load threads in ns, user and system; `None`: not measured.
    pub cpu: Option<u64>,
    /// Sum over completed queries of ns from the event loop's wake-up to the handling of the answer: a lower
    /// bound of the time answers waited for the generator. Where requests go out together (io_uring), with the time
    /// that each waited for those before it.
    pub dispatch_delay: Option<u64>,
    /// Wakes of the event loop.
    pub wakes: Option<u64>,
    /// CPU in ns of the load thread that used most of it; `None`: not measured, or recorded before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest: Option<u64>,
    /// How the number of threads came about; `None`: the threads are not ours, or it was recorded before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<ThreadChoice>,
    /// Through what the load threads sent and received, and why; `None` as for the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<LoopChoice>,
}

/// Connection churn seen by the client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sessions {
    /// Connections opened for the load.
    pub opened: u64,
    /// Lost before the end of the span.
    pub lost: u64,
}

/// One job of the workload in the span. Where dbbench drove the load: over its own whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobCount {
    /// As the workload names the job.
    pub name: String,
    /// Queries completed.
    pub completed: u64,
    /// Rows of those.
    pub rows: u64,
    /// Queries that ended in an error, accepted ones too; of dbbench its aborts.
    pub errors: u64,
    /// Sum of the latencies of the completed queries in ns; of dbbench its mean times its count.
    pub latency_sum: u64,
}

impl LoadTrace {
    /// A load that somebody else drove at `connections` clients: nothing is counted yet.
    pub fn not_driven(driver: &str, span: Span, connections: usize) -> LoadTrace {
        LoadTrace {
            driver: driver.into(),
            span,
            connections,
            rate: None,
            completed: 0,
            counted_by: "none: the load is somebody else's".into(),
            rows: 0,
            wrong_rows: 0,
            errors: Vec::new(),
            latency_sum: None,
            at_sockets: None,
            slices: Vec::new(),
            latency: empty_histogram(),
            generator: Generator::default(),
            sessions: Sessions::default(),
            jobs: Vec::new(),
            transactions: None,
            reported: None,
            hosts: Vec::new(),
        }
    }

    /// Its slices as at most so many batches of neighbours: ns after the span's start at which each ends, and the
    /// queries completed in it. Empty where slices were not measured.
    pub fn batches(&self, most: usize) -> Vec<(u64, f64)> {
        let count = most.min(self.slices.len());
        let mut batches = vec![(0, 0.0); count];
        for (i, slice) in self.slices.iter().enumerate() {
            let batch = &mut batches[i * count / self.slices.len()];
            *batch = (slice.at + slice.nanos, batch.1 + slice.completed as f64);
        }
        batches
    }

    /// X: queries per second.
    pub fn throughput(&self) -> f64 {
        self.completed as f64 / self.span.seconds()
    }

    /// R: mean latency in ns; `None` without completions or where it is not measured.
    pub fn mean_latency(&self) -> Option<f64> {
        (self.completed > 0).then_some(())?;
        Some(self.latency_sum? as f64 / self.completed as f64)
    }

    /// Each client asks again once it has its answer, and tells how long that took.
    pub fn is_closed(&self) -> bool {
        self.rate.is_none() && self.latency_sum.is_some()
    }

    /// Queries that can be under way at once: the clients of a closed loop, else as many as were on average by a mean
    /// latency in ns (Little's law), of which each connection has one at most. Where the latency is not known, each
    /// connection is taken to have one.
    pub fn under_way(&self, latency: Option<f64>) -> f64 {
        let average = latency.map_or(f64::INFINITY, |latency| self.throughput() * latency / 1e9);
        match self.connections {
            0 => average,
            clients if self.is_closed() => clients as f64,
            connections => average.clamp(1.0, connections as f64),
        }
    }

    /// Errors that the workload did not declare acceptable.
    pub fn error_count(&self) -> u64 {
        self.errors.iter().filter(|e| !e.accepted).map(|e| e.count).sum()
    }
}
