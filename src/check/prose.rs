//! A check's evidence in words, with numbers and units, and what to do about it.

use super::{Check, Status};
use crate::words::{GENERATED_CODE, average, counted, significant, thousands, time};
use std::fmt;

/// How generated code gets names.
const HOW_IT_IS_NAMED: &str = "; a runtime names the code that it generates in /tmp/perf-PID.map: node \
    --perf-basic-prof, DOTNET_PerfMapEnabled=1, jcmd PID Compiler.perfmap, python -X perf";

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.share();
        let shown = |parts: &[(String, u64)]| {
            let parts: Vec<String> = parts.iter().take(3).map(|(what, n)| format!("{what}: {n}")).collect();
            if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
        };
        match self {
            Check::GeneratorGap { connections, throughput, .. } => {
                let gone = time(self.share() * *connections as f64 / throughput * 1e9);
                // N - X * R, by Little's law.
                let gap = self.share() * *connections as f64;
                write!(
                    f,
                    "{} of {} had no query under way on average: {gone} a query between an answer and the next \
                     query ({percent:.1} % of the clients)",
                    average(gap),
                    counted(*connections as u64, "client")
                )
            }
            Check::GeneratorCpu { threads, busiest, delay_per_query, .. } => {
                let whose = match (*threads, busiest) {
                    (1, _) => "its one thread".into(),
                    (threads, Some(_)) => format!("the busiest of its {threads} threads"),
                    (threads, None) => format!("each of its {threads} threads"),
                };
                write!(f, "the generator used {percent:.0} % of a core on {whose}")?;
                match delay_per_query {
                    Some(ns) => write!(f, "; answers waited for it {} a query at least", time(*ns)),
                    None => write!(f, "; how long answers waited for it was not measured"),
                }
            }
            Check::PlacesSum { places, latency, in_generator } => {
                write!(f, "the places sum to {}", time(*places))?;
                if let Some(nanos) = in_generator {
                    write!(f, ", queries wait {} in the generator's memory", time(*nanos))?;
                }
                write!(f, ", the client's mean latency is {} ({percent:+.1} % lie in none)", time(*latency))
            }
            Check::OtherClients { connections: 0, .. } => write!(f, "nobody but the load asked the server"),
            Check::OtherClients { connections, others, own } => {
                let (connections, requests) = (counted(*connections, "connection"), counted(*others, "request"));
                write!(
                    f,
                    "{connections} of other clients made {requests} of the server beside {} of the load \
                     ({percent:.1} % of all)",
                    thousands(&own.to_string())
                )
            }
            Check::Errors { errors: 0, .. } => write!(f, "no query failed"),
            Check::Errors { errors, completed, first } => {
                let queries = counted(*errors, "query");
                write!(f, "{queries} failed beside {completed} completed, the most frequent: {first}")
            }
            Check::WrongRows { wrong, completed } => {
                write!(f, "{wrong} of {completed} queries answered another number of rows than before the warm-up")
            }
            Check::StaleReads { reads: 0, .. } => write!(f, "no read followed an acknowledged write: not measured"),
            Check::StaleReads { writes, reads, stale, permitted, isolation, first } => {
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
            Check::SessionsLost { lost, opened } => write!(f, "the client lost {lost} of its {opened} sessions"),
            Check::ServerChurn { name, unit, value, at_most } => {
                write!(f, "{name}: {value:.1} {unit} ({at_most:.1} at most where sessions do not come and go)")
            }
            Check::Focus { name, value, at_least, .. } => {
                write!(f, "{name}: {} (at least {at_least} expected)", significant(*value))
            }
            Check::LostSamples { lost, throttled, recorded } => {
                let (lost, times) = (counted(*lost, "sample"), counted(*throttled, "time"));
                write!(f, "{lost} lost beside {recorded} taken ({percent:.2} %), sampling throttled {times}")
            }
            Check::CompleteStacks { complete, samples, reasons } => {
                write!(f, "{complete} of {samples} stacks are complete ({percent:.2} %){}", shown(reasons))
            }
            Check::SampledCpu { sampled, accounted, samples, user_space_only: true, .. } => {
                write!(
                    f,
                    "{samples} samples of user space say {sampled:.3} CPUs, the kernel's accounting {accounted:.3} \
                        with what ran in the kernel, which this user may not sample"
                )
            }
            Check::SampledCpu { sampled, accounted, stolen, samples, .. } => {
                let difference = 100.0 * (sampled / accounted - 1.0);
                write!(
                    f,
                    "{samples} samples say {sampled:.3} CPUs, the kernel's accounting {accounted:.3} \
                        ({difference:+.1} %), {stolen:.3} stolen from the machine"
                )
            }
            Check::OtherProcesses { .. } => {
                write!(f, "processes that are no part of the measurement used {percent:.1} % of the machine")
            }
            Check::Steal { .. } => write!(f, "the hypervisor took {percent:.1} % of the machine"),
            Check::MachineBusy { .. } if self.status() == Status::Warn => {
                write!(
                    f,
                    "CPU saturated: the machine was {percent:.1} % busy, so the machine, not necessarily the server, \
                        sets the limit"
                )
            }
            Check::MachineBusy { .. } => write!(f, "the machine was {percent:.1} % busy"),
            Check::BusiestThread { thread, tid, one_each, .. } => {
                write!(f, "the busiest thread of the target, {thread} ({tid}), was on CPU {percent:.1} % of the time")?;
                one_each.map_or(Ok(()), |threads| {
                    write!(f, "; {} at work, one for each query under way", counted(threads as u64, "thread"))
                })
            }
            Check::Symbols { symbolized, executable, misses } => {
                match executable {
                    Some(true) => write!(f, "the executable has symbols")?,
                    Some(false) => write!(f, "no symbols for the executable's build-id")?,
                    None => write!(f, "whether the executable has symbols is not known")?,
                }
                match symbolized {
                    Some(share) => {
                        write!(f, "; {:.2} % of the CPU is in functions with a name{}", 100.0 * share, shown(misses))?;
                        let generated = misses.iter().any(|(reason, _)| reason.starts_with(GENERATED_CODE));
                        f.write_str(if generated { HOW_IT_IS_NAMED } else { "" })
                    }
                    None => Ok(()),
                }
            }
            Check::TargetRestarted { started, now, .. } if started == now => {
                write!(f, "the target is the process that started {started}")
            }
            Check::TargetRestarted { started, now, resets } => {
                write!(
                    f,
                    "the target started {started} at the run's begin and {now} at the window's end; {} went back to 0",
                    counted(*resets as u64, "metric")
                )
            }
            Check::HostClocks { bound, offset, drift, round_trip, .. } => {
                let ahead = if *offset < 0 { "behind" } else { "ahead" };
                write!(
                    f,
                    "the target host's clock is {} {ahead} of the load's host's, known to {} (shortest round trip {}), \
                     and gains {:+.1} millionths; the window is the same on both to {percent:.2} %",
                    time(offset.unsigned_abs() as f64),
                    time(*bound as f64),
                    time(*round_trip as f64),
                    drift * 1e6,
                )
            }
            Check::Skew { skew } => {
                write!(
                    f,
                    "the longest scrape took {:.1} % of the window: metrics per query can be off by as much",
                    100.0 * skew
                )
            }
            Check::CarriedTime { carried, at_sockets } => {
                write!(
                    f,
                    "{carried:.2} queries were in the server's hands at once by what carried them, {at_sockets:.2} by \
                     the sockets ({percent:+.1} %)"
                )
            }
            Check::LostEvents { lost, events } => {
                let lost = counted(*lost, "event");
                write!(f, "{lost} of the carriers lost beside {events} kept ({percent:.2} %)")
            }
            Check::TargetSeen(seen) => f.write_str(&seen.sentence()),
            Check::OfLoadHost { host, check } => write!(f, "{host}: {check}"),
            Check::Unchecked { what, why } => write!(f, "{what}: not measured: {why}"),
        }
    }
}

impl Check {
    /// What mends it; `None` where nothing is to be mended, or where the evidence itself says it.
    pub fn remedy(&self) -> Option<String> {
        if !matches!(self.status(), Status::Warn | Status::Fail) {
            return None;
        }
        let remedy = match self {
            Check::GeneratorGap { .. } => {
                "read this level as one of fewer clients; use a driver with less work between an answer and the next \
                    query, or give it a CPU of its own"
            }
            Check::GeneratorCpu { no_room: true, .. } => {
                "the generator bounds this level, and no CPU was idle for more load threads: drive the load from \
                    another machine, or leave the server fewer CPUs (taskset), so that the generator has some of its \
                    own"
            }
            Check::GeneratorCpu { .. } => {
                "the generator bounds this level: give it more threads (--load-threads), or a machine of its own"
            }
            Check::PlacesSum { .. } => {
                "do not trust the places of this window: see whether queries are pipelined, or answered over another \
                    port"
            }
            Check::OtherClients { .. } => {
                "stop the other clients (the server's list of sessions names them), or take costs per query as too \
                    high by that share"
            }
            Check::Errors { .. } => {
                "mend the errors first: failed queries cost the server time that is divided by the others"
            }
            Check::WrongRows { .. } => {
                "check that the data does not change during the run, and that the answers are right"
            }
            Check::StaleReads { .. } => {
                "the server answers wrongly: however fast it is, do not use it so; see what caches or skips its read \
                    timestamp"
            }
            Check::SessionsLost { .. } => {
                "see the server's log for why it closed sessions; its limit of connections may be below this level"
            }
            Check::ServerChurn { .. } => {
                "hold the sessions: with dbbench, give -max-active-conns N -max-idle-conns N and -force-pre-auth; see \
                    whether another client works on the server"
            }
            Check::Focus { remedy, .. } => return Some(remedy.clone()),
            Check::LostSamples { .. } => "sample at a lower rate, or with larger rings (perf_event_mlock_kb)",
            Check::CompleteStacks { .. } => {
                "callers are missing for the incomplete ones: use the sampler that unwinds in the kernel, or build \
                    the target with frame pointers"
            }
            Check::SampledCpu { user_space_only: true, .. } => {
                "take sampled costs as those of user space; to sample the kernel too, run as root, or give the \
                    wireprof binary the capabilities that `wireprof doctor` names"
            }
            Check::SampledCpu { .. } => {
                "do not trust costs of this window: see the lost samples, and whether all threads and children of the \
                    target were sampled"
            }
            Check::OtherProcesses { .. } => "stop them (see top), or measure on a quiet machine",
            Check::Steal { .. } => "measure on dedicated CPUs, or repeat when the host is quiet",
            Check::MachineBusy { .. } => {
                "read costs per query, not latency, at this level; give the generator and the database a machine of \
                    their own, or use fewer clients"
            }
            Check::BusiestThread { .. } => "what this thread does bounds the throughput: see its own flamegraph",
            Check::Symbols { .. } => {
                "install the executable's debug symbols, or build it with them (line tables suffice)"
            }
            Check::TargetRestarted { .. } => {
                "leave this window out: a server that has just started is another one; see its log for why it ended"
            }
            Check::HostClocks { .. } => "use longer windows, or a faster link between the two hosts",
            Check::Skew { .. } => "use longer windows, or scrape fewer metrics: the server takes long to write them",
            Check::CarriedTime { .. } => {
                "take the division of the time in the server's hands as shares only: see whether queries are \
                    pipelined, or whether a process that carries them is not followed"
            }
            Check::LostEvents { .. } => {
                "parts of the waits are not seen or have the wrong end: follow fewer clients, or for a shorter time \
                    (--follow 500ms)"
            }
            Check::TargetSeen(seen) => return Some(seen.remedy().into()),
            Check::OfLoadHost { check, .. } => match check.as_ref() {
                Check::MachineBusy { .. } | Check::GeneratorCpu { no_room: true, .. } => {
                    "the load hosts bound this level: add another (--load-host), or take CPU-bound work off this one"
                }
                _ => return check.remedy(),
            },
            Check::Unchecked { .. } => return None,
        };
        Some(remedy.to_string())
    }
}
