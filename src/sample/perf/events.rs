//! Opening the perf events: one per CPU over all processes where that is permitted, else one per thread and CPU.
//! Invariant: what was chosen instead of something better is named in [`Opened::fallbacks`].

use super::record::REGISTER_MASK;
use crate::sample::{EventChoice, LARGEST_COPY, NO_KERNEL, Options, PER_THREAD};
use crate::target::{Forbidden, has_pmu, online_cpus, sampling_remedy, tasks};
use perf_event::events::{Hardware, Software};
use perf_event::{Builder, Clock, Counter, SampleFlag, Sampler};
use std::io;
use std::os::fd::AsRawFd;

/// Samples per second over all CPUs that sampling may reach: 8 CPUs at 997 Hz. Beyond, each CPU gets less.
pub const TOTAL_RATE: u64 = 8_000;
/// Bytes of the ring that tells what processes map, of each CPU.
pub const CHANGES_BYTES: usize = 1 << 18;
/// Bytes of stack per second that the kernel may at most copy for us.
const COPY_BYTES: u64 = 134_000_000;

/// Rate and sizes that hold on this number of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Samples per second and CPU; odd.
    pub frequency: u64,
    /// Bytes of stack that the kernel copies for each sample at most; a multiple of 8.
    pub stack_bytes: u32,
    /// Size of one ring in bytes; a power of two.
    pub ring_bytes: usize,
    /// User addresses along frame pointers are in the samples too, for [`Findings`](crate::sample::Findings).
    pub user_chains: bool,
}

impl Budget {
    /// ns between two samples of a CPU.
    pub fn period(&self) -> u64 {
        1_000_000_000 / self.frequency
    }
}

/// Bounds the total rate of samples and of copied bytes; a ring holds a quarter of a second.
pub fn budget(cpus: usize, options: &Options) -> Budget {
    let cpus = cpus.max(1) as u64;
    // Odd, so that sampling does not run in step with work that timers wake.
    let frequency = options.frequency.min(TOTAL_RATE / cpus).max(1) | 1;
    let copy = (COPY_BYTES / (frequency * cpus)).min(options.stack_bytes).min(LARGEST_COPY);
    let stack_bytes = (copy & !7).max(1024);
    let ring = (frequency * (stack_bytes + 1024) / 4).next_power_of_two().clamp(1 << 20, 1 << 25);
    Budget { frequency, stack_bytes: stack_bytes as u32, ring_bytes: ring as usize, user_chains: options.cross_checks }
}

/// Open events, one ring per CPU.
pub struct Opened {
    /// The rings, each with the event that owns it.
    pub rings: Vec<Sampler>,
    /// Further events that write into those rings.
    pub others: Vec<Counter>,
    /// Each ring is one CPU: the CPU's number, and the id of the event that ticks there. `None`: events per thread.
    pub clocks: Option<Vec<Clocked>>,
    /// `cycles` or `cpu-clock`.
    pub event: &'static str,
    /// ns that a sample stands for where each thread has its own event, and on the first CPU; `None` for cycles.
    pub period: Option<u64>,
    /// Samples have kernel frames.
    pub kernel: bool,
    /// Rate and sizes that the events were opened with.
    pub budget: Budget,
    /// What was chosen instead of something better, and why.
    pub fallbacks: Vec<String>,
}

/// The sampling clock of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Clocked {
    /// Number of the CPU.
    pub cpu: usize,
    /// Id of the clock's event; samples of other events in the ring are taken at switches.
    pub event: u64,
    /// ns between two ticks; `None` for cycles.
    pub period: Option<u64>,
}

/// The period of one CPU's clock, at most `SPREAD` above the common one and unlike every other CPU's: fractional parts
/// of multiples of the golden ratio never meet (three-distance theorem). With equal periods the clocks would keep
/// the phase between them for the whole window. A tick halts its CPU for tens of microseconds, and with it a query that
/// was there; another CPU that is always looked at just then is seen idle too often (by 12 % at one client).
pub fn period_of(cpu: usize, base: u64) -> u64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    base + (base as f64 * SPREAD * (cpu as f64 * GOLDEN).fract()) as u64
}

/// Largest part by which a CPU's period is longer than asked for.
const SPREAD: f64 = 0.06;

/// Every how many context switches of a CPU the stack of the thread that is switched out is taken: a share of them
/// stands for what a thread did in its last microseconds.
const SWITCH_PERIOD: u64 = 211;

fn builder(event: &'static str, kernel: bool, budget: &Budget, period: u64) -> Builder<'static> {
    let mut builder = match event {
        "cycles" => Builder::new(Hardware::CPU_CYCLES),
        _ => Builder::new(Software::CPU_CLOCK),
    };
    match event {
        "cycles" => builder.sample_frequency(budget.frequency),
        _ => builder.sample_period(period),
    };
    what_to_take(&mut builder, event, kernel, budget);
    builder
        .sample_id_all(true)
        .mmap(true)
        .mmap2(true)
        .comm(true)
        .comm_exec(true)
        .task(true)
        // Woken by nobody: the reader looks in every few milliseconds, which costs the target nothing.
        .wakeup_watermark(budget.ring_bytes);
    builder
}

/// The fields of a sample, alike for all events that share a ring. A software event that is asked for the period of its
/// samples ignores it and samples every time (perf_swevent_event in kernel/events/core.c).
fn what_to_take(builder: &mut Builder, event: &str, kernel: bool, budget: &Budget) {
    let mut fields = SampleFlag::IDENTIFIER | SampleFlag::TID | SampleFlag::TIME;
    if event != "cpu-clock" {
        fields |= SampleFlag::PERIOD;
    }
    fields |= SampleFlag::REGS_USER | SampleFlag::STACK_USER;
    if kernel {
        fields |= SampleFlag::CALLCHAIN;
    }
    builder
        .sample(fields)
        .sample_regs_user(REGISTER_MASK)
        .sample_stack_user(budget.stack_bytes)
        .exclude_kernel(!kernel)
        .exclude_hv(true)
        .exclude_callchain_user(!budget.user_chains)
        .clockid(Clock::MONOTONIC);
}

/// The event that is taken: `cycles` or `cpu-clock`. Without a choice, the lack of a PMU is added to
/// `fallbacks`.
pub fn event_name(choice: EventChoice, fallbacks: &mut Vec<String>) -> &'static str {
    match choice {
        EventChoice::Cycles => "cycles",
        EventChoice::CpuClock => "cpu-clock",
        EventChoice::Auto if has_pmu() => "cycles",
        EventChoice::Auto => {
            fallbacks.push("cpu-clock instead of cycles: this host has no usable hardware counters (PMU)".into());
            "cpu-clock"
        }
    }
}

/// What to say where there are fewer samples than were asked for.
pub fn rate_note(budget: &Budget, options: &Options, cpus: usize) -> Option<String> {
    let Budget { frequency, .. } = budget;
    let asked = options.frequency;
    (*frequency < asked).then(|| {
        format!(
            "{frequency} samples/s per CPU instead of {asked}: {TOTAL_RATE} samples/s over {cpus} CPUs is the budget"
        )
    })
}

/// The bare clock of one CPU, for a program in the kernel that runs at its ticks.
pub fn clock(event: &'static str, budget: &Budget, cpu: usize) -> io::Result<Counter> {
    let mut builder = match event {
        "cycles" => Builder::new(Hardware::CPU_CYCLES),
        _ => Builder::new(Software::CPU_CLOCK),
    };
    match event {
        "cycles" => builder.sample_frequency(budget.frequency),
        _ => builder.sample_period(period_of(cpu, budget.period())),
    };
    builder.exclude_kernel(false).exclude_hv(true).any_pid().one_cpu(cpu).build()
}

/// What processes map and how they are named, of all processes on one CPU, and nothing else.
pub fn changes(cpu: usize) -> io::Result<Sampler> {
    let mut builder = Builder::new(Software::DUMMY);
    builder.mmap(true).mmap2(true).comm(true).comm_exec(true).task(true).sample_id_all(true);
    builder.sample(SampleFlag::IDENTIFIER | SampleFlag::TID | SampleFlag::TIME).clockid(Clock::MONOTONIC);
    // Each wakes the reader: a library that was just loaded is about to run.
    builder.wakeup_watermark(1).any_pid().one_cpu(cpu).build()?.sampled(CHANGES_BYTES)
}

/// Opens sampling of the processes `pids` with all their threads.
///
/// # Errors
/// Where neither events per CPU nor events per thread are permitted, not even without kernel frames.
pub fn open(options: &Options, pids: &[u32]) -> Result<Opened, Forbidden> {
    let cpus = online_cpus();
    let budget = budget(cpus.len(), options);
    let mut fallbacks = Vec::new();
    fallbacks.extend(rate_note(&budget, options, cpus.len()));
    let event = event_name(options.event, &mut fallbacks);
    let period = (event == "cpu-clock").then_some(budget.period());
    let whole = cpus.iter().map(|cpu| open_cpu(event, &budget, *cpu)).collect::<io::Result<Vec<_>>>();
    let cause = match whole {
        Ok(opened) => {
            let (rings, switches): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
            let others = switches.into_iter().flatten().collect();
            let clock = |(cpu, ring): (&usize, &Sampler)| Clocked {
                cpu: *cpu,
                event: ring.as_counter().id(),
                period: period.map(|period| period_of(*cpu, period)),
            };
            let clocks = Some(cpus.iter().zip(&rings).map(clock).collect());
            return Ok(Opened { rings, others, clocks, event, period, kernel: true, budget, fallbacks });
        }
        Err(cause) => cause,
    };
    fallbacks.push(format!("{PER_THREAD} ({cause}): new threads are inherited"));
    for kernel in [true, false] {
        if !kernel {
            fallbacks.push(format!("{NO_KERNEL} without CAP_PERFMON; samples are of user space alone"));
        }
        if let Ok((rings, others)) = open_tasks(event, kernel, &budget, &cpus, pids) {
            return Ok(Opened { rings, others, clocks: None, event, period, kernel, budget, fallbacks });
        }
    }
    Err(forbidden(pids, &cause))
}

fn forbidden(pids: &[u32], cause: &io::Error) -> Forbidden {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    Forbidden {
        what: format!("sampling of process {}", pids.first().copied().unwrap_or(0)),
        cause: format!("{cause} (kernel.perf_event_paranoid is {})", paranoid.trim()),
        remedy: format!(
            "{}; --no-sampling measures the rest",
            sampling_remedy("`sudo sysctl kernel.perf_event_paranoid=1` and run as the target's user")
        ),
    }
}

/// The clock of one CPU with its ring and, for a clock that a timer drives, the event that takes stacks at context
/// switches into the same ring. A hardware counter interrupts at once and needs none.
fn open_cpu(event: &'static str, budget: &Budget, cpu: usize) -> io::Result<(Sampler, Option<Counter>)> {
    let timer = event == "cpu-clock";
    let mut clock = builder(event, true, budget, period_of(cpu, budget.period()));
    let ring = clock.context_switch(timer).any_pid().one_cpu(cpu).build()?.sampled(budget.ring_bytes)?;
    if !timer {
        return Ok((ring, None));
    }
    let mut switches = Builder::new(Software::CONTEXT_SWITCHES);
    what_to_take(&mut switches, event, true, budget);
    let switches = switches.sample_period(SWITCH_PERIOD).any_pid().one_cpu(cpu).build()?;
    redirect(&switches, ring.as_counter())?;
    Ok((ring, Some(switches)))
}

fn open_tasks(
    event: &'static str,
    kernel: bool,
    budget: &Budget,
    cpus: &[usize],
    pids: &[u32],
) -> io::Result<(Vec<Sampler>, Vec<Counter>)> {
    let (mut rings, mut others) = (Vec::new(), Vec::new());
    for &cpu in cpus {
        let mut ring: Option<Sampler> = None;
        for tid in pids.iter().flat_map(|pid| tasks(*pid)) {
            let mut builder = builder(event, kernel, budget, budget.period());
            let built = builder.observe_pid(tid as i32).one_cpu(cpu).inherit(true).build();
            match (built, &ring) {
                // The thread ended between the listing and here.
                (Err(error), _) if error.raw_os_error() == Some(libc::ESRCH) => {}
                (Err(error), _) => return Err(error),
                (Ok(counter), None) => ring = Some(counter.sampled(budget.ring_bytes)?),
                (Ok(counter), Some(ring)) => {
                    redirect(&counter, ring.as_counter())?;
                    others.push(counter);
                }
            }
        }
        rings.extend(ring);
    }
    if rings.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok((rings, others))
}

/// Lets an event write into another one's ring.
fn redirect(counter: &Counter, ring: &Counter) -> io::Result<()> {
    const PERF_EVENT_IOC_SET_OUTPUT: libc::c_ulong = 0x2405;
    // SAFETY: both descriptors are open perf events, and this request takes a descriptor by value, no pointer.
    let result = unsafe { libc::ioctl(counter.as_raw_fd(), PERF_EVENT_IOC_SET_OUTPUT, ring.as_raw_fd()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_rate_of_samples_and_of_copied_bytes_is_bounded_on_2_and_on_64_cpus() {
        for cpus in [1, 2, 8, 64, 256] {
            let budget = budget(cpus, &Options::default());
            let rate = budget.frequency * cpus as u64;
            assert!(rate <= TOTAL_RATE + cpus as u64, "{cpus} CPUs: {rate} samples/s");
            assert!(rate * u64::from(budget.stack_bytes) <= COPY_BYTES, "{cpus} CPUs");
            assert!(budget.ring_bytes.is_power_of_two());
        }
        assert_eq!(budget(2, &Options::default()).frequency, 997);
    }

    #[test]
    fn fewer_samples_than_asked_for_are_told() {
        let options = Options::default();
        assert!(rate_note(&budget(64, &options), &options, 64).unwrap().starts_with("125 samples/s per CPU instead"));
        assert_eq!(rate_note(&budget(2, &options), &options, 2), None);
    }

    #[test]
    fn no_two_cpus_tick_in_step() {
        let mut periods: Vec<u64> = (0..256).map(|cpu| period_of(cpu, 1_003_009)).collect();
        assert_eq!(periods[0], 1_003_009);
        periods.sort_unstable();
        assert!(periods[255] <= 1_063_190, "at most 6 % longer");
        let nearest = periods.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(nearest.is_some_and(|ns| ns > 50), "neighbours part by {nearest:?} ns a tick");
    }
}
