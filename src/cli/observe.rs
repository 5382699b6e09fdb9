//! Options of the instruments: those of every verb that measures, and those that need a load of wireprof's own or a
//! database to ask.

use super::conduct::seconds;
use super::sampling::Sampling;
use super::source::Source;
use crate::sweep::ObserveRequest;
use clap::Args;
use std::time::Duration;

/// How long a sweep follows carriers at each level.
const FOLLOW: Duration = Duration::from_secs(2);

#[derive(Args)]
#[command(next_help_heading = "What is measured")]
pub struct Instruments {
    /// The server's process [default: the one that listens on the URL's port]
    #[arg(long, value_name = "PID", help_heading = "Target")]
    pub pid: Option<u32>,
    /// Measure --pid although another process owns the URL's port: a proxy in front of it
    #[arg(long, requires = "pid", help_heading = "Target")]
    pub pid_anyway: bool,
    /// Another process to sample in the same windows, such as the database behind, by number or name; or the address of
    /// a CPU profile that a server takes of itself (http://HOST:PORT/debug/pprof/profile of a Go server), which is
    /// asked for in the windows; may be repeated
    #[arg(long, value_name = "PID|NAME|URL")]
    also: Vec<String>,
    /// Prometheus metrics of the server [default: the preset's]
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// Measure without reading the server's metrics
    #[arg(long, conflicts_with = "metrics_url")]
    no_metrics: bool,
    /// Measure without following the sockets (where each query is)
    #[arg(long)]
    no_wire: bool,
    /// How long to follow, after the first window of each level, what carries the queries in the server's hands: its
    /// threads and async tasks, by probes that cost the server time [default: 2s in a sweep, 0s elsewhere]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    follow: Option<Duration>,
    /// Measure without following what carries the queries
    #[arg(long, conflicts_with = "follow")]
    no_follow: bool,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    pub source: Source,
}

impl Instruments {
    /// How long carriers are followed where the verb does so by default, for windows of this length.
    pub fn follow_by_default(&self, window: Duration) -> Option<Duration> {
        (!self.no_follow).then(|| self.follow.unwrap_or(FOLLOW.min(window)))
    }

    /// What is observed, without what only a verb with a load of its own can ask for.
    pub fn request(&self) -> ObserveRequest {
        ObserveRequest {
            metrics_url: self.metrics_url.clone(),
            no_metrics: self.no_metrics,
            wire: !self.no_wire,
            companions: self.also.clone(),
            follow: self.follow.filter(|_| !self.no_follow),
            sampling: self.sampling.options(),
            ..ObserveRequest::default()
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "What is measured")]
pub struct Observe {
    #[command(flatten)]
    pub instruments: Instruments,
    /// Database whose statement statistics are read (PostgreSQL or CockroachDB) [default: --url, where the preset says
    /// so]
    #[arg(long, value_name = "URL")]
    statements_url: Option<String>,
    /// Measure without reading statement statistics
    #[arg(long, conflicts_with = "statements_url")]
    no_statements: bool,
    /// Have the database forget its statement statistics before each window (they are differenced in any case)
    #[arg(long, conflicts_with = "no_statements")]
    reset_statements: bool,
    /// After each window, while its load still runs, write on one connection and read on others: do reads see
    /// acknowledged writes?
    #[arg(long, value_enum, value_name = "WHAT")]
    probe: Option<Probe>,
    /// Keep idle CPUs from sleeping (/dev/cpu_dma_latency): at few clients, waking them can be most of the latency
    #[arg(long)]
    awake: bool,
}

/// What can be asked of a server besides its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Probe {
    /// In a table of its own, which is dropped at the end.
    ReadAfterWrite,
}

impl Observe {
    /// What is observed.
    pub fn request(&self) -> ObserveRequest {
        ObserveRequest {
            statements_url: self.statements_url.clone(),
            no_statements: self.no_statements,
            reset_statements: self.reset_statements,
            freshness: self.probe == Some(Probe::ReadAfterWrite),
            awake: self.awake,
            ..self.instruments.request()
        }
    }
}
