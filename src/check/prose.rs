//! A guard's evidence in words, with numbers and units, and what to do about it.

use super::{Guard, Verdict};
use std::fmt;

/// A count with what is counted, as English has it.
fn plural(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.share();
        let shown = |parts: &[(String, u64)]| {
            let parts: Vec<String> = parts.iter().take(3).map(|(what, n)| format!("{what}: {n}")).collect();
            if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
        };
        match self {
            Guard::GeneratorGap { connections, throughput, .. } => {
                let us = self.share() * *connections as f64 / throughput * 1e6;
                let gap = self.share() * *connections as f64;
                write!(
                    f,
                    "N - X*R = {gap:.2} of {connections} clients had no query under way: {us:.1} us a query ({percent:.1} % of N)"
                )
            }
            Guard::GeneratorCpu { threads, delay_per_query, .. } => {
                let whose =
                    if *threads == 1 { "its one thread".into() } else { format!("each of its {threads} threads") };
                write!(f, "the generator used {percent:.0} % of a core on {whose}")?;
                match delay_per_query {
                    Some(ns) => write!(f, "; answers waited for it {:.1} us a query at least", ns / 1e3),
                    None => write!(f, "; how long answers waited for it was not measured"),
                }
            }
            Guard::PlacesSum { places, latency } => {
                write!(
                    f,
                    "the places sum to {:.1} us, the client's mean latency is {:.1} us ({percent:+.1} % lie in none)",
                    places / 1e3,
                    latency / 1e3
                )
            }
            Guard::OtherClients { connections: 0, .. } => write!(f, "nobody but the load asked the server"),
            Guard::OtherClients { connections, others, own } => {
                let (connections, requests) = (plural(*connections, "connection"), plural(*others, "request"));
                write!(
                    f,
                    "{connections} of other clients made {requests} of the server beside {own} of the load \
                     ({percent:.1} % of all)"
                )
            }
            Guard::Errors { errors: 0, .. } => write!(f, "no query failed"),
            Guard::Errors { errors, completed, first } => {
                let queries = if *errors == 1 { "query" } else { "queries" };
                write!(f, "{errors} {queries} failed beside {completed} completed, the most frequent: {first}")
            }
            Guard::WrongRows { wrong, completed } => {
                write!(f, "{wrong} of {completed} queries answered another number of rows than before the warm-up")
            }
            Guard::StaleReads { reads: 0, .. } => write!(f, "no read followed an acknowledged write: not measured"),
            Guard::StaleReads { writes, reads, stale, permitted, isolation, first } => {
                let level = isolation.as_deref().unwrap_or("an unknown isolation level");
                write!(
                    f,
                    "{stale} of {reads} reads under {level} missed a write acknowledged before ({writes} writes)"
                )?;
                match (stale, permitted) {
                    (0, _) => Ok(()),
                    (_, true) => write!(f, ", which that level permits"),
                    (_, false) => write!(f, ": {}", first.as_deref().unwrap_or("")),
                }
            }
            Guard::SessionsLost { lost, opened } => write!(f, "the client lost {lost} of its {opened} sessions"),
            Guard::ServerChurn { name, unit, value, at_most } => {
                write!(f, "{name}: {value:.1} {unit} ({at_most:.1} at most where sessions do not come and go)")
            }
            Guard::Focus { name, value, at_least, .. } => {
                write!(f, "{name}: {value:.4} (at least {at_least} expected)")
            }
            Guard::LostSamples { lost, throttled, recorded } => {
                let (lost, times) = (plural(*lost, "sample"), plural(*throttled, "time"));
                write!(f, "{lost} lost beside {recorded} taken ({percent:.2} %), sampling throttled {times}")
            }
            Guard::CompleteStacks { complete, samples, reasons } => {
                write!(f, "{complete} of {samples} stacks are complete ({percent:.2} %){}", shown(reasons))
            }
            Guard::SampledCpu { sampled, accounted, stolen, samples } => {
                let difference = 100.0 * (sampled / accounted - 1.0);
                write!(
                    f,
                    "{samples} samples say {sampled:.3} CPUs, the kernel's accounting {accounted:.3} ({difference:+.1} %), {stolen:.3} stolen from the machine"
                )
            }
            Guard::OtherProcesses { .. } => {
                write!(f, "processes that are no part of the measurement used {percent:.1} % of the machine")
            }
            Guard::Steal { .. } => write!(f, "the hypervisor took {percent:.1} % of the machine"),
            Guard::MachineBusy { .. } if self.verdict() == Verdict::Warn => {
                write!(
                    f,
                    "CPU saturated: the machine was {percent:.1} % busy, so the machine, not necessarily the server, sets the limit"
                )
            }
            Guard::MachineBusy { .. } => write!(f, "the machine was {percent:.1} % busy"),
            Guard::BusiestThread { thread, tid, .. } => {
                write!(f, "the busiest thread of the target, {thread} ({tid}), was on CPU {percent:.1} % of the time")
            }
            Guard::Symbols { symbolized, executable, misses } => {
                match executable {
                    Some(true) => write!(f, "the executable has symbols")?,
                    Some(false) => write!(f, "no symbols for the executable's build-id")?,
                    None => write!(f, "whether the executable has symbols is not known")?,
                }
                match symbolized {
                    Some(share) => {
                        write!(f, "; {:.2} % of the CPU is in functions with a name{}", 100.0 * share, shown(misses))
                    }
                    None => Ok(()),
                }
            }
            Guard::TargetRestarted { started, now, .. } if started == now => {
                write!(f, "the target is the process that started {started}")
            }
            Guard::TargetRestarted { started, now, resets } => {
                write!(
                    f,
                    "the target started {started} at the run's begin and {now} at the window's end; {} went back to 0",
                    plural(*resets as u64, "metric")
                )
            }
            Guard::Skew { skew } => {
                write!(
                    f,
                    "the longest scrape took {:.1} % of the window: metrics per query can be off by as much",
                    100.0 * skew
                )
            }
            Guard::Unchecked { what, why } => write!(f, "{what}: not measured: {why}"),
        }
    }
}

impl Guard {
    /// What mends it; `None` where nothing is to be mended, or where the evidence itself says it.
    pub fn remedy(&self) -> Option<String> {
        if !matches!(self.verdict(), Verdict::Warn | Verdict::Fail) {
            return None;
        }
        let remedy = match self {
            Guard::GeneratorGap { .. } => {
                "read this level as one of fewer clients; use a driver with less work between an answer and the next query, or give it a CPU of its own"
            }
            Guard::GeneratorCpu { .. } => {
                "the generator bounds this level: give it more threads, or a machine of its own"
            }
            Guard::PlacesSum { .. } => {
                "do not trust the places of this window: see whether queries are pipelined, or answered over another port"
            }
            Guard::OtherClients { .. } => {
                "stop the other clients (the server's list of sessions names them), or take costs per query as too high by that share"
            }
            Guard::Errors { .. } => {
                "mend the errors first: failed queries cost the server time that is divided by the others"
            }
            Guard::WrongRows { .. } => {
                "check that the data does not change during the run, and that the answers are right"
            }
            Guard::StaleReads { .. } => {
                "the server answers wrongly: however fast it is, do not use it so; see what caches or skips its read timestamp"
            }
            Guard::SessionsLost { .. } => {
                "see the server's log for why it closed sessions; its limit of connections may be below this level"
            }
            Guard::ServerChurn { .. } => {
                "hold the sessions: with dbbench, give -max-active-conns N -max-idle-conns N and -force-pre-auth; see whether another client works on the server"
            }
            Guard::Focus { remedy, .. } => return Some(remedy.clone()),
            Guard::LostSamples { .. } => "sample at a lower rate, or with larger rings (perf_event_mlock_kb)",
            Guard::CompleteStacks { .. } => {
                "callers are missing for the incomplete ones: use the sampler that unwinds in the kernel, or build the target with frame pointers"
            }
            Guard::SampledCpu { .. } => {
                "do not trust costs of this window: see the lost samples, and whether all threads and children of the target were sampled"
            }
            Guard::OtherProcesses { .. } => "stop them (see top), or measure on a quiet machine",
            Guard::Steal { .. } => "measure on dedicated CPUs, or repeat when the host is quiet",
            Guard::MachineBusy { .. } => {
                "read costs per query, not latency, at this level; give the generator and the database a machine of their own, or use fewer clients"
            }
            Guard::BusiestThread { .. } => "what this thread does bounds the throughput: see its own flamegraph",
            Guard::Symbols { .. } => {
                "install the executable's debug symbols, or build it with them (line tables suffice)"
            }
            Guard::TargetRestarted { .. } => {
                "leave this window out: a server that has just started is another one; see its log for why it ended"
            }
            Guard::Skew { .. } => "use longer windows, or scrape fewer metrics: the server takes long to write them",
            Guard::Unchecked { .. } => return None,
        };
        Some(remedy.to_string())
    }
}
