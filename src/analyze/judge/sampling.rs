//! How stacks were sampled: why so often, what was not as one would wish, and what it took of the target against the
//! budget. Invariant: a share is of windows that all have the samples, the cost of each and the target's CPU; what one
//! of them lacks is not measured.

use super::companion_hosts::companion_hosts;
use super::server_profiles::server_profiles;
use crate::profile::{OBSERVER, Profile, Sample};
use crate::run::{Run, Window};
use crate::sample::{LOWEST_RATE, OnTarget, SamplingReport};
use crate::target::Role;
use crate::words::{counted, list, significant, time};
use serde::Serialize;

/// What one interrupt takes differs by as much from one measurement to the next.
const KNOWN_TO: f64 = 1.1;

/// What sampling took of the target at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplingCost {
    /// Number of clients.
    pub level: usize,
    /// Number of windows with samples of the target.
    pub windows: usize,
    /// Samples per second and CPU.
    pub frequency: u64,
    /// Samples of the target in the windows (a count).
    pub samples: u64,
    /// ns that a timer's interrupt is reckoned to take, mean over the samples: of the target in the first warm-up where
    /// it was shown to be more than of a loop before the load, else of that; `None`: not measured.
    pub interrupt: Option<f64>,
    /// What it took of the target in the first warm-up; `None`: not measured.
    pub on_target: Option<OnTarget>,
    /// ns that following a stack took of the interrupted thread, measured in the windows; `None`: not measured.
    pub following: Option<f64>,
    /// Both, times the samples, over the target's CPU by the kernel's accounts, in percent; `None`: one of them was not
    /// measured.
    pub share: Option<f64>,
    /// The share if an interrupt took as much as the upper end of the interval of `on_target`; `None` as for both.
    pub up_to: Option<f64>,
    /// The highest share of any window, in percent; `None` as for `share`.
    pub highest: Option<f64>,
    /// What samples may take, in percent; `None`: the rate was asked for, or is of an earlier version.
    pub budget: Option<f64>,
}

impl SamplingCost {
    /// Whether it took more than it may, by more than such a cost is known to.
    pub fn exceeds(&self) -> bool {
        self.share.zip(self.budget).is_some_and(|(share, budget)| share > KNOWN_TO * budget)
    }
}

/// What sampling took, a level after the other; empty where no window says why its rate was chosen.
pub fn sampling_costs(run: &Run) -> Vec<SamplingCost> {
    run.levels().into_iter().filter_map(|(level, windows)| level_cost(level, &windows)).collect()
}

fn level_cost(level: usize, windows: &[&Window]) -> Option<SamplingCost> {
    let with: Vec<(&Window, &SamplingReport)> =
        windows.iter().filter_map(|window| Some((*window, window.sampling.as_ref()?))).collect();
    let reports = || with.iter().map(|(_, report)| *report);
    let chosen = reports().find_map(|report| report.chosen.as_ref())?;
    let samples: u64 = reports().map(|report| report.samples).sum();
    let mean = |each: fn(&SamplingReport) -> Option<f64>| {
        let sum: f64 = reports().map(|report| Some(each(report)? * report.samples as f64)).sum::<Option<f64>>()?;
        (samples > 0).then(|| sum / samples as f64)
    };
    let all = |each: fn(&SamplingReport) -> Option<f64>| {
        let taken: Option<Vec<(f64, f64)>> = with.iter().map(|(window, report)| taken(window, report, each)).collect();
        taken.filter(|taken| !taken.is_empty())
    };
    let percent = |(nanos, cpu): (f64, f64)| 100.0 * nanos / cpu;
    let share =
        |taken: &Vec<(f64, f64)>| percent(taken.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1)));
    let taken = all(interrupt);
    Some(SamplingCost {
        level,
        windows: with.len(),
        frequency: chosen.frequency,
        samples,
        interrupt: mean(interrupt),
        on_target: chosen.target,
        following: mean(following),
        share: taken.as_ref().map(share),
        up_to: all(most).as_ref().map(share),
        highest: taken.and_then(|taken| taken.into_iter().map(percent).reduce(f64::max)),
        budget: chosen.budget,
    })
}

fn interrupt(report: &SamplingReport) -> Option<f64> {
    report.chosen.as_ref()?.interrupt_taken()
}

/// ns that an interrupt may take by the upper end of its interval, but no less than what it is reckoned to.
fn most(report: &SamplingReport) -> Option<f64> {
    let chosen = report.chosen.as_ref()?;
    Some(chosen.target?.high.max(chosen.interrupt_taken()?))
}

/// ns a sample. The kernel's program counts the whole recording, of which the window is nearly all.
fn following(report: &SamplingReport) -> Option<f64> {
    let nanos = report.kernel_cpu?;
    (report.recorded > 0).then(|| nanos as f64 / report.recorded as f64)
}

/// ns that the samples of a window took, by what an interrupt takes, and ns of CPU that the target had in it.
fn taken(
    window: &Window,
    report: &SamplingReport,
    interrupt: fn(&SamplingReport) -> Option<f64>,
) -> Option<(f64, f64)> {
    let scheduler = window.scheduler.as_ref().filter(|scheduler| scheduler.span.nanos() > 0)?;
    let cpu = scheduler.cpu(Role::Target)? as f64 * window.load.span.seconds() / scheduler.span.seconds();
    let nanos = report.samples as f64 * (interrupt(report)? + following(report)?);
    (cpu > 0.0).then_some((nanos, cpu))
}

/// How stacks were sampled, each thing said once: why so often, fall-backs, ticks whose interrupt came late, what a
/// sample took, and what all of them took against the budget.
pub fn sampling_notes(run: &Run) -> Vec<String> {
    let reports = || run.windows.iter().filter_map(|window| window.sampling.as_ref());
    let once = |mut notes: Vec<String>| {
        notes.sort();
        notes.dedup();
        notes
    };
    let mut notes = once(reports().filter_map(|report| Some(report.chosen.as_ref()?.told())).collect());
    notes.extend(once(reports().flat_map(|report| report.fallbacks.iter().cloned()).collect()));
    let (late, samples) = reports().fold((0, 0), |(late, all), report| (late + report.late, all + report.samples));
    if late > 0 {
        let share = 100.0 * late as f64 / samples as f64;
        notes.push(format!(
            "{late} of {samples} samples ({share:.1} %) came after their thread had lost the CPU: they are counted for \
             the thread that ran when they were due, with a stack at which it was switched out"
        ));
    }
    notes.extend(delivered_late(run));
    notes.extend(sample_cost(run));
    notes.extend(budget_notes(&sampling_costs(run)));
    notes.extend(own_programs(run));
    notes.extend(server_profiles(run));
    notes.extend(companion_hosts(run));
    notes.iter().map(|note| format!("sampling: {note}")).collect()
}

/// The bias that is left where samples divide accounted CPU: where in its thread a sample shows it. ns, the mean over
/// the windows by their samples.
fn delivered_late(run: &Run) -> Option<String> {
    let (mut sum, mut samples) = (0, 0);
    for report in run.windows.iter().filter_map(|window| window.sampling.as_ref()) {
        let Some(delay) = report.timer_delay else { continue };
        sum += u128::from(delay) * u128::from(report.samples);
        samples += report.samples;
    }
    (samples > 0).then(|| {
        format!(
            "a sample shows where its thread was {} after it was due, when the timer's interrupt came: that shifts CPU \
             between functions of a thread, not between threads (mean of {samples} samples)",
            time(sum as f64 / samples as f64)
        )
    })
}

/// What a sample cost: the thread that it interrupted, and wireprof.
fn sample_cost(run: &Run) -> Option<String> {
    let (mut kernel, mut own, mut samples) = (0, 0, 0);
    for report in run.windows.iter().filter_map(|window| window.sampling.as_ref()) {
        kernel += report.kernel_cpu?;
        own += report.sampler_cpu?;
        samples += report.recorded;
    }
    let each = |nanos: u64| time(nanos as f64 / samples as f64);
    (samples > 0).then(|| {
        format!(
            "a sample took {} of the thread that it interrupted, besides the timer's interrupt, and {} of wireprof \
             ({samples} samples)",
            each(kernel),
            each(own)
        )
    })
}

/// In how much of the samples wireprof's own programs in the kernel were. The program of the sampling interrupt is in
/// none: nothing samples that.
fn own_programs(run: &Run) -> Option<String> {
    let of_level = |(level, windows): (usize, Vec<&Window>)| {
        let sampled = windows.iter().filter_map(|window| window.profile.as_ref()).map(in_own_programs);
        let (own, all) = sampled.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (all > 0).then_some((level, own, all))
    };
    let sampled: Vec<(usize, i64, i64)> = run.levels().into_iter().filter_map(of_level).collect();
    sampled.iter().any(|(_, own, _)| *own > 0).then(|| {
        let share = |(level, own, all): &(usize, i64, i64)| {
            format!("{} % at level {level}", significant(100.0 * *own as f64 / *all as f64))
        };
        let told: Vec<String> = sampled.iter().map(share).collect();
        format!(
            "of the samples, {} were in wireprof's own programs in the kernel (frames of {OBSERVER}); no timer can \
             interrupt those at context switches, whose time counts for `__schedule`: --observer-cost measures all",
            list(&told)
        )
    })
}

/// Samples in wireprof's own programs, and all.
fn in_own_programs(profile: &Profile) -> (i64, i64) {
    let own: Vec<bool> = profile.frames.iter().map(|frame| frame.module == OBSERVER).collect();
    let mut within: Vec<bool> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        // A parent comes before its children.
        within.push(own[node.frame.index()] || node.parent.is_some_and(|parent| within[parent.index()]));
    }
    let is_own = |sample: &Sample| sample.stack.is_some_and(|stack| within[stack.index()]);
    let counted = profile.samples.iter().filter(|sample| is_own(sample)).map(|sample| sample.values[0]);
    (counted.sum(), profile.total(0))
}

/// What all samples took, against the budget; and what to do where that is more than they may take.
fn budget_notes(costs: &[SamplingCost]) -> Vec<String> {
    if costs.is_empty() {
        return Vec::new();
    }
    let mut notes = vec![took(costs)];
    let over: Vec<&SamplingCost> = costs.iter().filter(|cost| cost.exceeds()).collect();
    if let Some((worst, budget)) = over.iter().filter_map(|cost| cost.share.zip(cost.budget)).reduce(larger) {
        let levels: Vec<String> = over.iter().map(|cost| cost.level.to_string()).collect();
        let frequency = over.iter().map(|cost| cost.frequency).max().unwrap_or(0);
        let remedy = match frequency > LOWEST_RATE {
            true => format!(
                "a lower --sampling-budget ({} or less), or a lower --frequency, has fewer samples taken",
                significant(budget * budget / worst)
            ),
            false => format!("no rate that it can choose keeps it here; --frequency below {frequency} has fewer taken"),
        };
        notes.push(format!("that is more than the budget of {budget} % at level {}: {remedy}", list(&levels)));
    }
    notes
}

fn larger(one: (f64, f64), other: (f64, f64)) -> (f64, f64) {
    if other.0 > one.0 { other } else { one }
}

fn took(costs: &[SamplingCost]) -> String {
    let share = |cost: &SamplingCost| Some(format!("{} % at level {}", significant(cost.share?), cost.level));
    let told: Vec<String> = costs.iter().filter_map(share).collect();
    let budget = costs.iter().find_map(|cost| cost.budget);
    let budget = budget.map_or("no budget: the rate was asked for".into(), |budget| format!("budget {budget} %"));
    let samples = counted(costs.iter().map(|cost| cost.samples).sum(), "sample");
    if told.len() < costs.len() {
        let why = if costs.iter().any(|cost| cost.interrupt.is_none()) {
            "what an interrupt takes"
        } else if costs.iter().any(|cost| cost.following.is_none()) {
            "what copying a stack takes"
        } else {
            "the target's CPU in every window"
        };
        return format!("what the samples took of the target's CPU was not measured: {why} is not known ({samples})");
    }
    let (how, each) = reckoned(costs);
    format!(
        "of the target's CPU, by the kernel's account, the samples took {how} {}; {budget} ({samples}, each an \
         interrupt {each}); what is done at every context switch besides is not in it: --observer-cost measures both",
        list(&told)
    )
}

/// How sure what the samples took is, and what an interrupt and a walk were taken from.
fn reckoned(costs: &[SamplingCost]) -> (&'static str, String) {
    let walk = "and a walk of the stack as it was measured in the windows";
    let up_to = costs.iter().filter_map(|cost| cost.up_to).reduce(f64::max).map(significant);
    let Some((up_to, target)) = up_to.zip(costs.iter().find_map(|cost| cost.on_target)) else {
        return (
            "at least",
            format!(
                "of a loop before the load {walk}; interrupts of a busy server may take many times as much, which a \
                 longer run measures in its first warm-up"
            ),
        );
    };
    let interval = format!("by the 95 % interval of the interrupt up to {up_to} %");
    match costs.iter().all(|cost| cost.interrupt == Some(target.nanos)) {
        true => ("about", format!("of the target as measured in the first warm-up {walk}; {interval}")),
        false => (
            "at least",
            format!("of a loop before the load {walk}; on the target it was not shown to take more, and {interval}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::profile::{Builder, Frame, Labels, Space, on_cpu_columns};
    use crate::run::build;
    use crate::sample::{ChosenRate, Following};
    use crate::target::SchedulerDelta;

    /// 1,000 samples of 13 + 7 µs in a window whose target had so many ns of CPU.
    fn window(level: usize, replicate: usize, cpu: u64) -> Window {
        let mut window = build::window(level, replicate, 1, 1_000, None);
        window.sampling = Some(SamplingReport {
            chosen: Some(ChosenRate::within(1.0, Some(13_000.0), Following::ASSUMED)),
            samples: 1_000,
            recorded: 1_200,
            kernel_cpu: Some(1_200 * 7_000),
            sampler_cpu: Some(1_200 * 3_000),
            ..SamplingReport::default()
        });
        let threads = vec![build::thread(Role::Target, "server", "worker", 1, cpu)];
        window.scheduler = Some(SchedulerDelta { span: Span::new(0, 1_000_000_000), threads, machine: None });
        window
    }

    #[test]
    fn samples_cost_an_interrupt_and_a_walk_each_over_the_targets_cpu() {
        let costs = sampling_costs(&build::run(vec![window(1, 1, 4_000_000_000), window(1, 2, 1_000_000_000)]));
        let [cost] = &costs[..] else { panic!("{costs:?}") };
        assert_eq!((cost.samples, cost.windows, cost.frequency), (2_000, 2, 331));
        assert_eq!((cost.interrupt, cost.following), (Some(13_000.0), Some(7_000.0)));
        assert_eq!((cost.share, cost.highest, cost.budget), (Some(0.8), Some(2.0), Some(1.0)));
        assert!(!cost.exceeds());
        assert_eq!(
            took(&costs),
            "of the target's CPU, by the kernel's account, the samples took at least 0.800 % at level 1; budget 1 % \
             (2,000 samples, each an interrupt of a loop before the load and a walk of the stack as it was measured in \
             the windows; interrupts of a busy server may take many times as much, which a longer run measures in \
             its first warm-up); what is done at every context switch besides is not in it: --observer-cost measures \
             both"
        );
        assert_eq!(budget_notes(&costs).len(), 1);
    }

    #[test]
    fn what_is_over_the_budget_is_said_with_what_to_do() {
        let costs = sampling_costs(&build::run(vec![window(1, 1, 4_000_000_000), window(64, 1, 1_000_000_000)]));
        assert!(costs[1].exceeds() && !costs[0].exceeds());
        let notes = budget_notes(&costs);
        assert_eq!(
            notes[1],
            "that is more than the budget of 1 % at level 64: a lower --sampling-budget (0.500 or less), or a lower \
             --frequency, has fewer samples taken"
        );
    }

    /// A window as above, whose rate the target chose or did not, by what an interrupt took of it.
    fn on_target(micros: f64, error: f64) -> Window {
        let (nanos, error) = (micros * 1e3, error * 1e3);
        let (low, high) = (nanos - error, nanos + error);
        let (pairs, slice_seconds, frequency, level) = (12, 0.04, 968.0, 1);
        let mut window = window(1, 1, 4_000_000_000);
        let report = window.sampling.as_mut().unwrap();
        let target = OnTarget { nanos, low, high, pairs, slice_seconds, frequency, level };
        report.chosen = report.chosen.take().map(|chosen| chosen.measured(target));
        window
    }

    #[test]
    fn what_the_target_lost_to_interrupts_counts_and_a_budget_that_no_rate_keeps_is_said() {
        let costs = sampling_costs(&build::run(vec![on_target(317.0, 40.0)]));
        assert_eq!((costs[0].frequency, costs[0].interrupt), (49, Some(317_000.0)));
        // 1,000 samples of 317 + 7 µs, or 357 + 7, in 4 s.
        assert_eq!((costs[0].share, costs[0].up_to), (Some(8.1), Some(9.1)));
        let notes = budget_notes(&costs);
        assert!(notes[0].contains("took about 8.10 % at level 1; budget 1 %"), "{}", notes[0]);
        assert!(notes[0].contains("by the 95 % interval of the interrupt up to 9.10 %)"), "{}", notes[0]);
        assert!(notes[1].ends_with("no rate that it can choose keeps it here; --frequency below 49 has fewer taken"));
        let costs = sampling_costs(&build::run(vec![on_target(20.0, 30.0)]));
        assert_eq!((costs[0].frequency, costs[0].interrupt), (331, Some(13_000.0)));
        let said = took(&costs);
        assert!(said.contains("took at least 0.500 % at level 1") && said.contains("up to 1.43 %"), "{said}");
    }

    #[test]
    fn what_one_window_lacks_is_not_measured_and_an_earlier_run_says_nothing_of_it() {
        let mut without = window(1, 2, 1_000_000_000);
        without.sampling.as_mut().unwrap().kernel_cpu = None;
        let costs = sampling_costs(&build::run(vec![window(1, 1, 4_000_000_000), without]));
        assert_eq!((costs[0].share, costs[0].highest, costs[0].following), (None, None, None));
        assert!(took(&costs).contains("was not measured: what copying a stack takes is not known"), "{}", took(&costs));
        let mut earlier = window(1, 1, 1_000_000_000);
        let report = earlier.sampling.as_mut().unwrap();
        (report.chosen, report.fallbacks) = (None, vec!["331 samples per second and CPU, for 1 %".into()]);
        let run = build::run(vec![earlier]);
        assert_eq!(sampling_costs(&run), []);
        let notes = sampling_notes(&run);
        assert_eq!(notes[0], "sampling: 331 samples per second and CPU, for 1 %");
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn samples_in_the_observers_own_programs_are_told_and_no_others() {
        let sampled = |modules: [&str; 2]| {
            let mut builder = Builder::new(on_cpu_columns());
            let labels = builder.labels(Labels::default());
            // Nine samples of the server, and one in which the server was interrupted by what both call in the end.
            for (count, called) in [(9, None), (1, Some(modules))] {
                let inner = called.into_iter().flatten().map(|module| (module, Space::Kernel));
                let frames = [("server", Space::User)].into_iter().chain(inner).map(|(module, space)| {
                    let (name, file) = (format!("of {module}"), String::new());
                    builder.frame(Frame { name, module: module.into(), space, inlined: false, file, miss: None })
                });
                let frames: Vec<_> = frames.collect();
                let stack = builder.stack(frames);
                (0..count).for_each(|_| builder.sample(stack, labels, None, vec![1, 1_000_000]));
            }
            let mut window = window(4, 1, 1_000_000_000);
            window.profile = Some(builder.finish());
            own_programs(&build::run(vec![window]))
        };
        let told = sampled([OBSERVER, "[kernel]"]).unwrap();
        assert!(
            told.starts_with("of the samples, 10.0 % at level 4 were in wireprof's own programs in the kernel"),
            "{told}"
        );
        assert_eq!(sampled(["[bpf]", "[kernel]"]), None);
    }

    #[test]
    fn a_stored_report_of_an_earlier_version_is_read_and_a_reason_survives() {
        let report = window(1, 1, 1).sampling.unwrap();
        let mut stored = serde_json::to_value(&report).unwrap();
        assert_eq!(stored["chosen"]["interrupt"], 13_000.0);
        let read: SamplingReport = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read.chosen, report.chosen);
        stored.as_object_mut().unwrap().remove("chosen");
        assert_eq!(serde_json::from_value::<SamplingReport>(stored).unwrap().chosen, None);
    }
}
