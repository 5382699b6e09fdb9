//! What the host permits, whatever the server: events, kernel symbols, scheduler statistics, a testbed, a place for
//! runs.

use super::super::Common;
use super::HostCheck;
use crate::sample::ebpf::EbpfSampler;
use crate::sample::perf;
use crate::sample::unwind::Cache;
use crate::sample::{DEFAULT_BUDGET, DEFAULT_FREQUENCY, FOLLOWING, Options, interrupt_cost, permitted, within_budget};
use crate::symbol::hidden_kernel_names;
use crate::target::{CpuLatencyLock, following_remedy, host, programs_remedy, sampling_remedy};
use crate::testbed;
use crate::wire::{Hop, Listens, SocketProgram, WireSource};
use crate::words::time;
use std::path::Path;

pub fn checks(common: &Common) -> Vec<HostCheck> {
    let mut checks = vec![sampling(), event(), rate(), interrupts(), kernel_symbols(), scheduler(), kernel_programs()];
    checks.extend([off_cpu(), sockets(), carriers(), idle_cpus()]);
    checks.push(runs(&common.runs));
    checks.push(HostCheck::good(
        "cache",
        format!("{}; `wireprof cache --clear` empties it", super::super::cache::place()),
    ));
    checks.push(testbed());
    checks
}

fn idle_cpus() -> HostCheck {
    const WHAT: &str = "keeping idle CPUs awake";
    match CpuLatencyLock::permitted() {
        Ok(()) => HostCheck::good(WHAT, "where it is asked for with --awake"),
        Err(why) => HostCheck::limited(WHAT, why.cause, why.remedy),
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

fn setting(name: &str) -> String {
    read(&format!("/proc/sys/kernel/{name}")).unwrap_or_else(|| "absent".into())
}

/// Opens the events of all CPUs with their rings, as a sweep does.
fn sampling() -> HostCheck {
    const WHAT: &str = "sampling of stacks";
    let settings = format!(
        "kernel.perf_event_paranoid is {}, perf_event_mlock_kb {}",
        setting("perf_event_paranoid"),
        setting("perf_event_mlock_kb")
    );
    let remedy = sampling_remedy("`sudo sysctl kernel.perf_event_paranoid=-1 kernel.perf_event_mlock_kb=65536`");
    let opened = permitted(&Options::default(), std::process::id());
    match opened.and_then(|options| perf::open(&options, &[std::process::id()])) {
        Ok(opened) if opened.clocks.is_some() && opened.kernel => {
            let ring = opened.budget.ring_bytes >> 10;
            HostCheck::good(WHAT, format!("system-wide, with kernel stacks, rings of {ring} KiB a CPU; {settings}"))
        }
        Ok(opened) => {
            let kernel = if opened.kernel { "with" } else { "without" };
            let copied = opened.budget.stack_bytes;
            HostCheck::limited(
                WHAT,
                format!(
                    "own processes only, thread by thread, {kernel} kernel stacks, {copied} bytes of a stack; \
                        {settings}"
                ),
                remedy,
            )
        }
        Err(why) => HostCheck::limited(WHAT, format!("{}; {settings}", why.cause), remedy),
    }
}

fn event() -> HostCheck {
    let host = host();
    match host.pmu {
        true => HostCheck::good("event", format!("CPU cycles, on {} CPUs ({})", host.cpus, host.cpu)),
        false => HostCheck::limited(
            "event",
            format!("no hardware counters (PMU), so cpu-clock is used, on {} CPUs ({})", host.cpus, host.cpu),
            "most virtual machines have none and cpu-clock suffices for CPU time; a machine with virtualised counters \
                has \
             cycles too",
        ),
    }
}

fn rate() -> HostCheck {
    let wanted = DEFAULT_FREQUENCY;
    let most = setting("perf_event_max_sample_rate");
    match most.parse::<u64>() {
        Ok(rate) if rate < wanted => HostCheck::limited(
            "rate of samples",
            format!("kernel.perf_event_max_sample_rate is {rate}, below {wanted}"),
            format!("`sudo sysctl kernel.perf_event_max_sample_rate={}`, or --frequency {rate}", wanted.max(10_000)),
        ),
        _ => HostCheck::good("rate of samples", format!("kernel.perf_event_max_sample_rate is {most}")),
    }
}

/// Measures what a timer's interrupt takes, as a sweep does that samples by timers.
fn interrupts() -> HostCheck {
    const WHAT: &str = "interrupts of a timer";
    match interrupt_cost() {
        Err(error) => HostCheck::limited(
            WHAT,
            format!("not measured: {error}"),
            "try again on a quiet host; where timers are refused, see the sampling of stacks",
        ),
        Ok(nanos) => HostCheck::good(
            WHAT,
            format!(
                "one takes {} of a CPU: {} samples per second and CPU take {DEFAULT_BUDGET} % of it \
                 (--sampling-budget); of a busy server they take more, which sweep --observer-cost measures",
                time(nanos),
                within_budget(DEFAULT_BUDGET, nanos + FOLLOWING)
            ),
        ),
    }
}

/// Addresses are shown as 0 to those who may not see them (kernel documentation admin-guide/sysctl/kernel.rst).
fn kernel_symbols() -> HostCheck {
    use std::io::{BufRead, BufReader};
    let lines = std::fs::File::open("/proc/kallsyms").map(|file| BufReader::new(file).lines().take(1_000));
    let hidden = |line: &str| line.split(' ').next().is_none_or(|address| address.bytes().all(|b| b == b'0'));
    let shown = lines.map(|lines| lines.map_while(Result::ok).any(|line| !hidden(&line))).unwrap_or(false);
    let (restrict, paranoid) = (setting("kptr_restrict"), setting("perf_event_paranoid"));
    if shown {
        return HostCheck::good("names of kernel functions", format!("kernel.kptr_restrict is {restrict}"));
    }
    let (cause, remedy) = hidden_kernel_names(&restrict, &paranoid);
    HostCheck::limited("names of kernel functions", format!("hidden: {cause}"), remedy)
}

fn scheduler() -> HostCheck {
    let own = read("/proc/thread-self/schedstat").unwrap_or_default();
    let fields: Vec<u64> = own.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [cpu, _, slices] if cpu > 0 && slices > 0 => {
            HostCheck::good("scheduler statistics", "/proc/PID/task/TID/schedstat tells CPU and runnable time")
        }
        _ => HostCheck::limited(
            "scheduler statistics",
            "/proc/thread-self/schedstat is absent or empty",
            "use a kernel with CONFIG_SCHED_INFO (all distributions' have it); CPU by thread reads \"not measured\"",
        ),
    }
}

/// Loads the program that follows stacks in the kernel, as a sweep does, and lets it go again.
fn kernel_programs() -> HostCheck {
    const WHAT: &str = "stacks followed in the kernel (eBPF)";
    match EbpfSampler::open(Options::default(), Cache::default()) {
        Ok(_) => {
            HostCheck::good(WHAT, "the program is accepted: stacks of any depth are complete, without frame pointers")
        }
        Err(error) => HostCheck::limited(
            WHAT,
            format!("{error:#}; stacks are copied instead, so that those deeper than 64 KiB are cut"),
            following_remedy(),
        ),
    }
}

/// Loads the programs at wake-ups and births, as a sweep does, and lets them go again.
fn off_cpu() -> HostCheck {
    const WHAT: &str = "threads followed off CPU (eBPF)";
    let options = Options { off_cpu: true, ..Options::default() };
    let refused = match EbpfSampler::open(options, Cache::default()).map(|sampler| sampler.waits_refused()) {
        Ok(None) => return HostCheck::good(WHAT, "the programs are accepted: blocked and runnable time by stack"),
        Ok(Some(why)) => why,
        Err(error) => format!("{error:#}"),
    };
    HostCheck::limited(WHAT, format!("{refused}; what threads wait for reads \"not measured\""), following_remedy())
}

/// Attaches what follows threads, and a probe at a function of wireprof's own, and lets them go again.
fn carriers() -> HostCheck {
    const WHAT: &str = "what carries queries (eBPF, probes)";
    let opened = EbpfSampler::open(Options::default(), Cache::default());
    let followed = opened.and_then(|sampler| sampler.try_following().map(|()| sampler));
    let sampler = match followed {
        Ok(sampler) => sampler,
        Err(error) => {
            return HostCheck::limited(
                WHAT,
                format!("{error:#}; what the time in the server's hands is spent on reads \"not measured\""),
                following_remedy(),
            );
        }
    };
    let threads_only = |why: String, remedy: &str| {
        HostCheck::limited(WHAT, format!("threads can be followed, async tasks cannot: {why}"), remedy)
    };
    match sampler.try_probe() {
        Ok(nanos) => HostCheck::good(
            WHAT,
            format!("threads and tokio's tasks can be followed; a hit of a probe takes {}", time(nanos as f64)),
        ),
        Err(_) if !Path::new("/sys/bus/event_source/devices/uprobe").exists() => threads_only(
            "the kernel has no probes at functions of programs".into(),
            "use a kernel with CONFIG_UPROBE_EVENTS (all distributions' have it)",
        ),
        Err(error) => threads_only(
            format!("{error:#}"),
            "run as root, or with CAP_SYS_ADMIN too, which the kernel asks for probes",
        ),
    }
}

/// Loads the program that follows queries at the sockets, and lets it go again.
fn sockets() -> HostCheck {
    const WHAT: &str = "places of queries (eBPF at the sockets)";
    let nowhere = Hop { name: "none".into(), at: Listens::Port(1) };
    match SocketProgram::open(vec![nowhere]).map(|program| program.sends_seen()) {
        Ok(true) => HostCheck::good(WHAT, "the program is accepted, and sending is seen"),
        Ok(false) => HostCheck::limited(
            WHAT,
            "the program is accepted; sending is not seen, so a request's way counts for the client and an answer's \
                for the server",
            "Linux 6.16 and later tell of sending",
        ),
        Err(error) => HostCheck::limited(
            WHAT,
            format!("{error:#}; where the queries are reads \"not measured\""),
            programs_remedy("Linux 6.3 or later with CONFIG_DEBUG_INFO_BTF"),
        ),
    }
}

/// Writes a file and takes it away again, in the directory or where it would be created.
fn runs(directory: &Path) -> HostCheck {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(there) {
        Ok(_) => HostCheck::good("place for runs", format!("{} is writable", there.display())),
        Err(error) => HostCheck::refused(
            "place for runs",
            format!("cannot write to {}: {error}", there.display()),
            "name another place with --runs, or WIREPROF_RUNS",
        ),
    }
}

fn testbed() -> HostCheck {
    match testbed::postgres_binaries() {
        Ok(binaries) => HostCheck::good("PostgreSQL for the testbed", binaries.display().to_string()),
        Err(error) => HostCheck::limited(
            "PostgreSQL for the testbed",
            error.to_string(),
            "`sudo apt-get install postgresql` (only `sweep --testbed` needs it)",
        ),
    }
}
