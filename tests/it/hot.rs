//! Profile operations conserve totals; the hot table and the level table give exact numbers for runs built by hand.

use crate::build::*;
use crate::recordings;
use rand::{Rng, SeedableRng, rngs::StdRng};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;
use wireprof::analyze::cost::hot::*;
use wireprof::analyze::judge::summary::summary;
use wireprof::profile::*;

fn expected(lines: &[(&str, i64)]) -> BTreeMap<String, i64> {
    lines.iter().map(|(stack, weight)| (stack.to_string(), weight * 1_000_000)).collect()
}

fn patterns(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().map(|p| Regex::new(p).unwrap()).collect()
}

#[test]
fn a_focus_roots_stacks_at_the_outermost_match_and_keeps_the_rest_under_a_marker() {
    let source = profile(&[
        Stack("main;peek;oracle;peek;write", 0),
        Stack("main;run;peek;oracle", 1),
        Stack("main;run;idle", 2),
        Stack("", 3),
    ]);
    let split = split(&source, &Focus::new("peek", &["^peek$"]).unwrap(), Callers::Cut);
    split.view.check().unwrap();
    let lines_expected = expected(&[("peek;oracle;peek;write", 1), ("peek;oracle", 1), ("[outside focus]", 2)]);
    assert_eq!(lines(&split.view), lines_expected);
    assert_eq!((split.inside, split.outside), (vec![2, 2_000_000], vec![2, 2_000_000]));
    let times: Vec<_> = split.view.samples.iter().map(|s| s.at).collect();
    assert_eq!(times, source.samples.iter().map(|s| s.at).collect::<Vec<_>>());
}

#[test]
fn a_focus_keeps_callers_when_asked() {
    let source = profile(&[Stack("main;run;peek;oracle", 1), Stack("main;run;idle", 2)]);
    let split = split(&source, &Focus::new("peek", &["peek"]).unwrap(), Callers::Kept);
    assert_eq!(lines(&split.view), expected(&[("main;run;peek;oracle", 1), ("[outside focus]", 1)]));
}

#[test]
fn a_focus_sees_full_and_short_names() {
    let name = "<a::Client as b::Peek<c::D>>::try_peek::<e::F>";
    let source = profile(&[Stack(name, 0)]);
    for pattern in ["b::Peek<c::D>", "^a::Client::try_peek$"] {
        let focus = Focus::new("peek", &[pattern]).unwrap();
        assert_eq!(split(&source, &focus, Callers::Cut).inside, vec![1, 1_000_000], "{pattern}");
    }
}

#[test]
fn folded_plumbing_leaves_its_weight_with_the_nearest_kept_caller() {
    let source = profile(&[
        Stack("tokio::run;serve;tokio::poll;handle;tokio::wake", 0),
        Stack("tokio::run;serve;tokio::poll", 1),
        Stack("tokio::run;tokio::park", 2),
        Stack("", 3),
    ]);
    let Folded { profile: folded, away } = fold_runtime(&source, &Folding::of(&patterns(&["^tokio::"])));
    folded.check().unwrap();
    assert_eq!(lines(&folded), expected(&[("serve;handle", 1), ("serve", 1), ("[runtime]", 1), ("", 1)]));
    assert!(folded.frames.iter().all(|f| !f.name.contains("tokio")));
    // `run` and `poll` and `park` and `wake`; the first three samples have one of them at their end.
    assert_eq!((Away::functions([&away, &away]), away.own), (4, vec![3, 3_000_000]));
}

#[test]
fn merging_sums_the_columns_that_all_have() {
    let one = profile(&[Stack("main;a", 0), Stack("main;b", 1)]);
    let two = profile(&[Stack("main;a", 2)]);
    let both = merge(&[&one, &two]);
    both.check().unwrap();
    assert_eq!(lines(&both), expected(&[("main;a", 2), ("main;b", 1)]));
    assert_eq!(both.nodes.len(), 3);
    let mut bare = two;
    bare.columns.remove(0);
    bare.samples.iter_mut().for_each(|s| s.values = vec![s.values[1]]);
    let common = merge(&[&one, &bare]);
    assert_eq!((common.columns.len(), common.total(0)), (1, 3_000_000));
    assert_eq!(merge(&[]), Profile::default());
}

/// A random profile of some hundred samples over ten function names, three of them runtime frames.
fn random(random: &mut StdRng) -> Profile {
    let names = ["a", "b", "c", "d", "e", "f", "k:read", "tokio::x", "tokio::y", "<tokio::Z as F<a>>::poll"];
    let stacks: Vec<String> = (0..random.random_range(0..300))
        .map(|_| {
            let depth = random.random_range(0..12);
            (0..depth).map(|_| names[random.random_range(0..names.len())]).collect::<Vec<_>>().join(";")
        })
        .collect();
    let mut made = profile(&stacks.iter().map(|s| Stack(s, 0)).collect::<Vec<_>>());
    made.samples.iter_mut().for_each(|s| s.values = vec![random.random_range(0..5), random.random_range(0..1 << 40)]);
    made
}

#[test]
fn every_operation_conserves_every_columns_total_on_random_profiles() {
    let mut seed = StdRng::seed_from_u64(20261122);
    let folding = Folding::of(&patterns(&["tokio::"]));
    for _ in 0..300 {
        let (source, other) = (random(&mut seed), random(&mut seed));
        let focus = Focus::new("f", &["^(b|read)$"]).unwrap();
        for callers in [Callers::Cut, Callers::Kept] {
            let split = split(&source, &focus, callers);
            let Folded { profile: folded, away } = fold_runtime(&split.view, &folding);
            let grouped = group_kernel(&folded);
            let merged = merge(&[&source, &other]);
            for profile in [&split.view, &folded, &grouped, &merged] {
                profile.check().unwrap();
            }
            for column in 0..2 {
                let total = source.total(column);
                assert_eq!(split.inside[column] + split.outside[column], total);
                let totals = [&split.view, &folded, &grouped].map(|profile| profile.total(column));
                assert_eq!(totals, [total; 3]);
                assert_eq!(away.own[column], own_of_runtime(&split.view, column));
                assert_eq!(merged.total(column), total + other.total(column));
            }
            assert!(folded.frames.iter().all(|f| !f.name.contains("tokio")));
            assert!(split.view.samples.iter().zip(&source.samples).all(|(a, b)| a.values == b.values));
        }
    }
}

/// What ends in a frame of the runtime.
fn own_of_runtime(profile: &Profile, column: usize) -> i64 {
    let ends = |sample: &&Sample| {
        profile.walk(sample.stack).next().is_some_and(|frame| profile.frames[frame.index()].name.contains("tokio"))
    };
    profile.samples.iter().filter(ends).map(|sample| sample.values[column]).sum()
}

/// Two levels, 5 s each: `b` costs 1 us a query at level 1 and 3 us at 16; `a` 2 us at both.
fn two_levels() -> wireprof::run::Run {
    let low: Vec<Stack> = spread("main;a", 2000, 5).into_iter().chain(spread("main;a;b", 1000, 5)).collect();
    let high: Vec<Stack> = spread("main;a", 4000, 5).into_iter().chain(spread("main;b;a;b", 6000, 5)).collect();
    run(vec![window(1, 1, 5, 1_000_000, Some(profile(&low))), window(16, 1, 5, 2_000_000, Some(profile(&high)))])
}

fn values(row: &HotRow) -> Vec<f64> {
    row.costs.iter().map(|c| c.as_ref().unwrap().value).collect()
}

#[test]
fn self_costs_per_query_sum_to_the_total_and_show_growth() {
    let table = hot(&two_levels(), &HotOptions::default());
    assert_eq!((table.column.as_str(), table.unit.as_str(), table.frames), ("cpu", "nanoseconds", 2));
    let names: Vec<&str> = table.rows.iter().map(|r| r.frame.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(values(&table.rows[0]), [1000.0, 3000.0]);
    assert_eq!(values(&table.rows[1]), [2000.0, 2000.0]);
    assert_eq!((table.rows[0].ratio, table.rows[0].difference), (Some(3.0), Some(2000.0)));
    assert_eq!(table.rows[0].costs[1].as_ref().unwrap().samples, Some(6000));
    let total = table.levels[1].total.as_ref().unwrap();
    assert_eq!((total.value, total.samples), (5000.0, Some(10_000)));
    let (low, high) = table.rows[0].costs[1].as_ref().unwrap().interval.unwrap();
    let half = 1.96 * 3000.0 / 6000f64.sqrt();
    assert!((high - 3000.0 - half).abs() < 2.0 && (3000.0 - low - half).abs() < 2.0, "{low} {high} {half}");
}

#[test]
fn total_counts_a_recurring_frame_once_in_a_sample() {
    let table = hot(&two_levels(), &HotOptions { by: By::Total, ..HotOptions::default() });
    let by_name: BTreeMap<&str, Vec<f64>> = table.rows.iter().map(|r| (r.frame.name.as_str(), values(r))).collect();
    assert_eq!(by_name["main"], [3000.0, 5000.0]);
    assert_eq!(by_name["a"], [3000.0, 5000.0]);
    assert_eq!(by_name["b"], [1000.0, 3000.0]);
}

#[test]
fn callers_of_a_frame_are_those_of_its_outermost_call_and_sum_to_its_cost() {
    let callers_of = Some(Regex::new("^b$").unwrap());
    let table = hot(&two_levels(), &HotOptions { callers_of, by: By::Total, ..HotOptions::default() });
    let by_name: BTreeMap<&str, Vec<f64>> = table.rows.iter().map(|r| (r.frame.name.as_str(), values(r))).collect();
    assert_eq!(by_name, BTreeMap::from([("a", vec![1000.0, 0.0]), ("main", vec![0.0, 3000.0])]));
    let callers_of = Some(Regex::new("^main$").unwrap());
    let roots = hot(&two_levels(), &HotOptions { callers_of, by: By::Total, ..HotOptions::default() });
    assert_eq!((roots.rows[0].frame.name.as_str(), values(&roots.rows[0])), ("[no caller]", vec![3000.0, 5000.0]));
}

#[test]
fn a_focus_always_shows_what_lies_outside() {
    let focus = Some(Focus::new("b", &["^b$"]).unwrap());
    let table = hot(&two_levels(), &HotOptions { focus, ..HotOptions::default() });
    let outside: Vec<f64> = table.levels.iter().map(|l| l.outside.as_ref().unwrap().value).collect();
    assert_eq!(outside, [2000.0, 2000.0]);
    let totals: Vec<f64> = table.levels.iter().map(|l| l.total.as_ref().unwrap().value).collect();
    assert_eq!(totals, [3000.0, 5000.0]);
    assert!(table.rows.iter().all(|r| r.frame.name != OUTSIDE));
}

#[test]
fn rows_left_out_are_summed_into_one() {
    let table = hot(&two_levels(), &HotOptions { top: 1, ..HotOptions::default() });
    let others = table.others.unwrap();
    assert_eq!((others.frame.name.as_str(), values(&others)), ("[1 more frame]", vec![2000.0, 2000.0]));
}

#[test]
fn a_filter_and_the_order_by_growth_choose_rows() {
    let growth = HotOptions { order: Order::Growth, by: By::Total, ..HotOptions::default() };
    let names: Vec<String> = hot(&two_levels(), &growth).rows.into_iter().map(|r| r.frame.name).collect();
    assert_eq!(names, ["a", "b", "main"]);
    let filtered = HotOptions { frame: Some(Regex::new("^a$").unwrap()), ..growth };
    assert_eq!(hot(&two_levels(), &filtered).frames, 1);
}

#[test]
fn filters_see_full_and_short_names() {
    let name = "<a::Client as b::Peek<c::D>>::try_peek::<e::F>";
    let run = run(vec![window(1, 1, 1, 10, Some(profile(&[Stack(name, 0), Stack(&format!("main;{name};x"), 1)])))]);
    for pattern in ["b::Peek<c::D>", "^a::Client::try_peek$"] {
        let frame = HotOptions { frame: Some(Regex::new(pattern).unwrap()), ..HotOptions::default() };
        let table = hot(&run, &frame);
        assert_eq!((table.frames, table.rows[0].frame.name.as_str()), (1, name), "{pattern}");
        let callers_of =
            HotOptions { callers_of: Some(Regex::new(pattern).unwrap()), by: By::Total, ..HotOptions::default() };
        let callers: Vec<String> = hot(&run, &callers_of).rows.into_iter().map(|r| r.frame.name).collect();
        assert_eq!(callers, ["[no caller]", "main"], "{pattern}");
    }
}

#[test]
fn inlined_and_outlined_instances_of_a_function_are_one_row() {
    let mut source = profile(&[Stack("main;a", 0), Stack("main;b;a", 1)]);
    let mut inlined = source.frames[1].clone();
    inlined.inlined = true;
    source.frames.push(inlined);
    source.nodes[3].frame = FrameId(source.frames.len() as u32 - 1);
    let table = hot(&run(vec![window(1, 1, 1, 10, Some(source))]), &HotOptions::default());
    assert_eq!(table.rows.len(), 1);
    assert_eq!(values(&table.rows[0]), [200_000.0]);
}

#[test]
fn replicates_are_summed_before_they_are_divided() {
    let windows = vec![
        window(4, 1, 1, 100, Some(profile(&spread("a", 10, 1)))),
        window(4, 2, 1, 300, Some(profile(&spread("a", 10, 1)))),
        window(4, 3, 1, 100, None),
    ];
    let table = hot(&run(windows), &HotOptions::default());
    assert_eq!((table.levels[0].windows, table.levels[0].replicates, table.levels[0].queries), (2, 3, Some(400.0)));
    assert_eq!(values(&table.rows[0]), [50_000.0]);
}

#[test]
fn folded_stacks_without_samples_and_times_have_costs_but_neither_counts_nor_intervals() {
    let mut source = profile(&[Stack("main;a", 0)]);
    source.columns.remove(0);
    source.samples.iter_mut().for_each(|s| {
        s.values.remove(0);
        s.at = None;
    });
    let table = hot(&run(vec![window(1, 1, 1, 10, Some(source))]), &HotOptions::default());
    let cost = table.rows[0].costs[0].as_ref().unwrap();
    assert_eq!((cost.value, cost.samples, cost.interval), (100_000.0, None, None));
    assert_eq!(table.levels[0].provenance.samples, None);
}

#[test]
fn a_level_without_a_profile_or_queries_is_not_measured() {
    let table = hot(
        &run(vec![window(1, 1, 1, 0, Some(profile(&[Stack("a", 0)]))), window(2, 1, 1, 10, None)]),
        &HotOptions::default(),
    );
    assert!(table.levels.iter().all(|l| l.total.is_none()) && table.rows.is_empty());
}

#[test]
fn ninety_five_percent_intervals_hold_the_truth_in_about_95_of_100_poisson_windows() {
    let mut seed = StdRng::seed_from_u64(1);
    let (mut held, windows) = (0, 400);
    for _ in 0..windows {
        // 100 slices; a sample falls into each of 20 ticks a slice with probability 0.1: 200 expected.
        let ticks: Vec<u64> = (0..2000).filter(|_| seed.random_bool(0.1)).collect();
        let stacks: Vec<Stack> = ticks.iter().map(|t| Stack("a", t * 5 / 2)).collect();
        let table = hot(&run(vec![window(1, 1, 5, 10_000, Some(profile(&stacks)))]), &HotOptions::default());
        let (low, high) = table.rows[0].costs[0].as_ref().unwrap().interval.unwrap();
        held += usize::from((low..high).contains(&(200.0 * 1e6 / 10_000.0)));
    }
    assert!((376..=400).contains(&held), "{held} of {windows}");
}

#[test]
fn the_level_table_divides_by_queries_and_leaves_unknowns_out() {
    let mut first = window(16, 1, 5, 1_000_000, Some(profile(&spread("a", 2000, 5))));
    first.load.wrong_rows = 3;
    let levels = summary(&run(vec![first, window(16, 2, 5, 3_000_000, Some(profile(&spread("a", 2000, 5))))]));
    let level = &levels[0];
    assert_eq!((level.level, level.replicates, level.throughput), (16, 2, Some(400_000.0)));
    assert_eq!(level.throughput_range, Some((200_000.0, 600_000.0)));
    assert_eq!((level.mean_latency, level.sampled_cpu), (Some(1_000_000.0), Some(1000.0)));
    assert!((999_000..=1_001_000).contains(&level.p50.unwrap()));
    assert_eq!((level.generator_cpu, level.wrong_rows), (Some(5000.0), Some(3)));
    assert_eq!((level.target_cpu, level.runnable, level.machine_busy), (None, None, None));
    assert_eq!(level.busiest, None);
}

/// 4 s of CPU: a quarter is the runtime's own, under `serve`; the rest in the kernel, under `handle`.
fn with_runtime() -> wireprof::run::Run {
    let own = spread("tokio::run;serve;tokio::poll", 1000, 5);
    let sent = "tokio::run;serve;tokio::poll;handle;k:do_syscall_64;k:__x64_sys_sendto;k:tcp_sendmsg";
    let stacks: Vec<Stack> = own.into_iter().chain(spread(sent, 3000, 5)).collect();
    run(vec![window(1, 1, 5, 1_000_000, Some(profile(&stacks)))])
}

/// Names and shares of the first level's cost, of the rows.
fn shares(table: &HotTable) -> BTreeMap<String, f64> {
    let total = table.levels[0].total.as_ref().unwrap().value;
    let share = |row: &HotRow| (row.frame.name.clone(), row.costs[0].as_ref().unwrap().value / total);
    table.rows.iter().map(share).collect()
}

#[test]
fn a_folded_table_says_what_it_left_out_and_keeps_what_is_asked_for() {
    let folding = Folding::of(&patterns(&["^tokio::", "^do_syscall_64$"]));
    let options = HotOptions { by: By::Total, folding, ..HotOptions::default() };
    let table = hot(&with_runtime(), &options);
    let folded = table.folded.unwrap();
    assert_eq!((folded.functions, folded.own), (3, 0.25));
    let rows = [("serve", 1.0), ("handle", 0.75), ("__x64_sys_sendto", 0.75), ("tcp_sendmsg", 0.75)];
    assert_eq!(shares(&table), rows.map(|(name, share)| (name.to_string(), share)).into());
    let asked = |options: HotOptions| shares(&hot(&with_runtime(), &options));
    let frame = Some(Regex::new("^tokio::run$").unwrap());
    assert_eq!(asked(HotOptions { frame, ..options.clone() }), [("tokio::run".to_string(), 1.0)].into());
    let focus = Some(Focus::new("poll", &["^tokio::poll$"]).unwrap());
    assert_eq!(asked(HotOptions { focus, ..options.clone() })["tokio::poll"], 1.0);
    // Who calls the kernel is told without what is folded, and who calls the runtime.
    let callers_of =
        |pattern: &str| asked(HotOptions { callers_of: Some(Regex::new(pattern).unwrap()), ..options.clone() });
    assert_eq!(callers_of("^__x64_sys_sendto$"), [("handle".to_string(), 0.75)].into());
    assert_eq!(callers_of("^tokio::poll$"), [("serve".to_string(), 1.0)].into());
    let all = hot(&with_runtime(), &HotOptions { folding: Folding::default(), ..options });
    assert!(all.folded.is_none() && shares(&all)["tokio::run"] == 1.0);
}

#[test]
fn the_kernels_functions_are_one_row_for_each_call_where_that_is_asked_for() {
    let grouped = HotOptions { kernel_grouped: true, ..HotOptions::default() };
    let rows = [("tokio::poll", 0.25), ("[kernel: sendto]", 0.75)];
    assert_eq!(shares(&hot(&with_runtime(), &grouped)), rows.map(|(name, share)| (name.to_string(), share)).into());
    // Of owners those of the kernel: here no function is of a program.
    let mut run = with_runtime();
    run.windows[0].profile = Some(profile(&spread("k:do_syscall_64;k:__x64_sys_futex;k:schedule", 100, 5)));
    let preset = wireprof::preset::Preset::built_in("generic").unwrap();
    let owners = Some(wireprof::analyze::cost::owners::Rules::of(&preset, &run.manifest));
    let by_owner = HotOptions { by: By::Owner, owners, ..grouped };
    assert_eq!(shares(&hot(&run, &by_owner)), [("[kernel: futex]".to_string(), 1.0)].into());
    let each = HotOptions { kernel_grouped: false, ..by_owner };
    assert_eq!(shares(&hot(&run, &each)), [("schedule".to_string(), 1.0)].into());
}

#[test]
fn a_real_servers_runtime_folds_away_and_its_weight_stays() {
    let Some(recorded) = recordings::environmentd() else { return };
    runtime_folds_away(&recorded.join("t/c16"));
}

#[test]
fn the_testbeds_runtime_folds_away_and_its_weight_stays() {
    let (total, depths, frames) = runtime_folds_away(&recordings::testbed().join("c16"));
    assert_eq!(total, 1_437_185_750);
    assert_eq!((depths, frames), ((47, 33), (153, 129)));
}

/// ns of CPU, and the deepest stack and the number of frames, each before and after folding.
fn runtime_folds_away(level: &Path) -> (i64, (usize, usize), (usize, usize)) {
    let source = folded(&recordings::text(&level.join("folded.txt.gz")));
    let preset = wireprof::preset::Preset::built_in("materialize").unwrap();
    let folded = fold_runtime(&source, &preset.folding()).profile;
    assert_eq!(folded.total(0), source.total(0));
    let left: Vec<String> = folded.frames.iter().map(|f| short_name(&f.name)).collect();
    let runtime: Vec<&String> = left.iter().filter(|name| name.starts_with("tokio::runtime")).collect();
    assert!(runtime.is_empty(), "{runtime:?}");
    let depth = |p: &Profile| p.samples.iter().map(|s| p.path(s.stack).len()).max().unwrap();
    assert!(depth(&folded) < depth(&source));
    (source.total(0), (depth(&source), depth(&folded)), (source.frames.len(), left.len()))
}

#[test]
fn a_real_servers_peek_path_has_costs_in_the_focus_and_outside_that_sum_to_the_total() {
    let Some(recorded) = recordings::environmentd() else { return };
    let table = sums_to_the_total(&recorded.join("t"), [1, 16, 64], "try_frontend_peek_cached");
    for (level, share) in table {
        assert!((0.07..0.11).contains(&share), "level {level}: the recording's own account is 8-10 %: {share}");
    }
}

#[test]
fn the_testbeds_planted_work_has_costs_in_the_focus_and_outside_that_sum_to_the_total() {
    let shares = sums_to_the_total(&recordings::testbed(), [1, 4, 16], "planted_|::plant::");
    // ns of CPU in the planted work and in all, from the files.
    let wanted = [(321_608_000.0, 597_989_875.0), (603_015_000.0, 939_698_375.0), (1_165_829_000.0, 1_437_185_750.0)];
    for ((level, share), (planted, all)) in shares.into_iter().zip(wanted) {
        assert!((share - planted / all).abs() < 1e-9, "level {level}: {share}");
    }
}

/// (level, share of its CPU in the focus)
fn sums_to_the_total(directory: &Path, levels: [usize; 3], focus: &str) -> Vec<(usize, f64)> {
    let read = |level: usize| folded(&recordings::text(&directory.join(format!("c{level}/folded.txt.gz"))));
    let windows = levels.map(|level| window(level, 1, 20, 100_000, Some(read(level))));
    let focus = Some(Focus::new("focus", &[focus]).unwrap());
    let table = hot(&run(windows.into()), &HotOptions { focus, top: usize::MAX, ..HotOptions::default() });
    let share = |(index, level): (usize, &HotLevel)| {
        let inside: f64 = table.rows.iter().map(|r| r.costs[index].as_ref().unwrap().value).sum();
        let (total, outside) = (level.total.as_ref().unwrap(), level.outside.as_ref().unwrap());
        assert!((inside + outside.value - total.value).abs() < 1e-6 * total.value);
        assert_eq!((total.samples, total.interval), (None, None));
        (level.level, inside / total.value)
    };
    table.levels.iter().enumerate().map(share).collect()
}

fn with_metrics(level: usize, replicate: usize, queries: u64, before: &str, after: &str) -> wireprof::run::Window {
    use wireprof::clock::Span;
    use wireprof::metrics::{MetricsDelta, Scrape};
    let scrape = |at: u64, text: &str| Scrape { span: Span::new(at, at + 10), text: text.into() };
    let mut window = window(level, replicate, 1, queries, None);
    window.metrics = Some(MetricsDelta::between(&scrape(0, before), &scrape(1_000_000_000, after)));
    window
}

fn exposition(fast: u64, slow: u64, sum: f64, calls: u64, alive: f64) -> String {
    format!(
        "# TYPE wait_seconds histogram\nwait_seconds_bucket{{op=\"read\",le=\"0.001\"}} {fast}\n\
         wait_seconds_bucket{{op=\"read\",le=\"0.002\"}} {0}\nwait_seconds_bucket{{op=\"read\",le=\"+Inf\"}} {0}\n\
         wait_seconds_sum{{op=\"read\"}} {sum}\nwait_seconds_count{{op=\"read\"}} {0}\n\
         # TYPE calls counter\ncalls {calls}\n# TYPE alive gauge\nalive {alive}\n# TYPE idle counter\nidle 7\n",
        fast + slow
    )
}

#[test]
fn series_pool_their_replicates_and_leave_out_what_did_not_move() {
    use wireprof::analyze::time::series::{LevelChange, series};
    let run = run(vec![
        with_metrics(1, 1, 100, &exposition(0, 0, 0.0, 10, 3.0), &exposition(90, 10, 0.1, 60, 5.0)),
        with_metrics(1, 2, 300, &exposition(90, 10, 0.1, 60, 5.0), &exposition(90, 310, 0.7, 160, 4.0)),
        window(16, 1, 1, 10, None),
    ]);
    let found = series(&run, &Regex::new(".").unwrap());
    let names: Vec<(&str, usize)> = found.iter().map(|s| (s.series.as_str(), s.level)).collect();
    assert_eq!(names, [("alive", 1), ("calls", 1), ("wait_seconds{op=\"read\"}", 1)]);
    assert_eq!(
        (&found[0].change, found[0].per_query),
        (&LevelChange::Gauge { rise: Some(1.0), last: 4.0 }, Some(0.0025))
    );
    assert_eq!((&found[1].change, found[1].per_query), (&LevelChange::Counter { delta: 150.0 }, Some(0.375)));
    let LevelChange::Histogram { count, mean, p50, p99 } = found[2].change else { panic!("{found:?}") };
    assert_eq!((count, p50, p99), (400.0, Some((0.001, 0.002)), Some((0.001, 0.002))));
    let mean = mean.unwrap();
    assert!((mean - 0.7 / 400.0).abs() < 1e-12, "{mean}");
    assert_eq!(series(&run, &Regex::new("op=\"read\"").unwrap()).len(), 1);
}

#[test]
fn the_level_table_scales_the_schedulers_span_to_the_windows() {
    use wireprof::clock::Span;
    use wireprof::target::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
    let thread =
        |role, name: &str, tid, cpu, runnable| ThreadDelta { runnable, ..thread(role, "server", name, tid, cpu) };
    let mut made = window(16, 1, 1, 1000, None);
    made.load.generator.cpu = None;
    made.scheduler = Some(SchedulerDelta {
        span: Span::new(0, 2_000_000_000),
        threads: vec![
            thread(Role::Target, "worker", 2, 1_500_000_000, 200_000_000),
            thread(Role::Target, "coordinator", 3, 500_000_000, 0),
            thread(Role::Generator, "load", 9, 100_000_000, 0),
        ],
        machine: Some(MachineDelta {
            cpus: 2,
            busy: 3_000_000_000,
            idle: 900_000_000,
            steal: 100_000_000,
            ..MachineDelta::default()
        }),
    });
    let level = &summary(&run(vec![made]))[0];
    assert_eq!((level.target_cpu, level.runnable), (Some(1_000_000.0), Some(100_000.0)));
    assert_eq!((level.generator_cpu, level.machine_busy), (Some(50_000.0), Some(0.75)));
    let busiest = level.busiest.as_ref().unwrap();
    assert_eq!((busiest.thread.as_str(), busiest.tid, busiest.share), ("worker", 2, 0.75));
}
