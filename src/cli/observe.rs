//! Options of the instruments: those of every verb that measures, and those that need a load of wireprof's own or a
//! database to ask.

use super::conduct::seconds;
use super::sampling::Sampling;
use super::source::Source;
use crate::remote::{BadHost, Host, LinkOptions};
use crate::sweep::{AlsoRequest, ObserveRequest};
use clap::Args;
use std::str::FromStr;
use std::time::Duration;

/// How long a sweep follows carriers at each level.
const FOLLOW: Duration = Duration::from_secs(2);

/// What is sampled besides the target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Also {
    /// A process of the target's host by its number or name, or the address of a server's own profile.
    Here(String),
    /// A process of another host.
    There { host: Host, process: String },
}

impl FromStr for Also {
    type Err = String;

    fn from_str(text: &str) -> Result<Also, String> {
        let Some(rest) = text.strip_prefix("ssh://") else { return Ok(Also::Here(text.into())) };
        let (place, process) = rest.split_once('/').unwrap_or((rest, ""));
        let host: Host = format!("ssh://{place}").parse().map_err(|error: BadHost| error.to_string())?;
        if process.is_empty() {
            return Err(format!("which process of {host}? write {host}/NAME"));
        }
        Ok(Also::There { host, process: process.into() })
    }
}

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
    /// asked for in the windows; or a process of another host, as ssh://[USER@]HOST[:PORT]/NAME, sampled there over
    /// your ssh; may be repeated
    #[arg(long, value_name = "PID|NAME|URL")]
    also: Vec<Also>,
    /// wireprof on the hosts of --also ssh://... [default: a copy of this one, kept in ~/.cache/wireprof there]
    #[arg(long, value_name = "PATH", requires = "also")]
    also_program: Option<String>,
    /// Run it there through `sudo -n`
    #[arg(long, requires = "also")]
    also_sudo: bool,
    /// Take the copies away from those hosts at the end
    #[arg(long, requires = "also", conflicts_with = "also_program")]
    also_clean: bool,
    /// Prometheus metrics of the server, by http or https [default: the preset's, for a server on its host]
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

    /// Processes of the target's host, and addresses of servers' own profiles.
    fn companions(&self) -> Vec<String> {
        let known = self.also.iter().filter_map(|also| match also {
            Also::Here(name) => Some(name.clone()),
            Also::There { .. } => None,
        });
        known.collect()
    }

    /// Processes of further hosts, each once.
    fn also_hosts(&self) -> Vec<AlsoRequest> {
        let mut found: Vec<AlsoRequest> = Vec::new();
        for also in &self.also {
            let Also::There { host, process } = also else { continue };
            if found.iter().all(|known| (&known.link.host, &known.process) != (host, process)) {
                let program = self.also_program.clone();
                let link = LinkOptions { host: host.clone(), program, sudo: self.also_sudo };
                found.push(AlsoRequest { link, process: process.clone(), clean: self.also_clean });
            }
        }
        found
    }

    /// What is observed, without what only a verb with a load of its own can ask for.
    pub fn request(&self) -> ObserveRequest {
        ObserveRequest {
            metrics_url: self.metrics_url.clone(),
            no_metrics: self.no_metrics,
            wire: !self.no_wire,
            companions: self.companions(),
            also_hosts: self.also_hosts(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_host_is_told_by_its_address_and_no_password_is_shown() {
        let there = |host: &str, process: &str| Also::There { host: host.parse().unwrap(), process: process.into() };
        for (text, read) in [
            ("postgres", Also::Here("postgres".into())),
            ("http://h:8080/debug/pprof/profile", Also::Here("http://h:8080/debug/pprof/profile".into())),
            ("ssh://me@db1:2222/postgres", there("ssh://me@db1:2222", "postgres")),
            ("ssh://[fe80::1]/a/b", there("ssh://[fe80::1]", "a/b")),
        ] {
            assert_eq!(text.parse(), Ok(read), "{text}");
        }
        for (text, why) in [("ssh://db1", "which process"), ("ssh://db1/", "which process"), ("ssh:///x", "no host")] {
            let error = text.parse::<Also>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let error = "ssh://me:canary@db1/postgres".parse::<Also>().unwrap_err();
        assert!(error.contains("password") && !error.contains("canary"), "{error}");
    }
}
