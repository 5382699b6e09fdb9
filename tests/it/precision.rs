//! How precisely the large functions of a run are known. Invariant: each run is made of known samples, so that the
//! functions and their intervals can be held against those of `hot`.

use crate::build::*;
use wireprof::analyze::cost::hot::{HotOptions, hot};
use wireprof::analyze::cost::precision::{LARGE, precision};
use wireprof::render::precision_notes;
use wireprof::run::{Manifest, PrecisionGoal, Run, Window};

/// 400, 60 and 10 samples of three functions: 85, 13 and 2 %.
fn taken(level: usize, replicate: usize, seconds: u64) -> Window {
    let stacks = [("main;exec", 400), ("main;parse", 60), ("main;free", 10)];
    let stacks: Vec<Stack> = stacks.iter().flat_map(|(stack, count)| spread(stack, *count, seconds)).collect();
    window(level, replicate, seconds, 1_000, Some(profile(&stacks)))
}

#[test]
fn the_widest_interval_of_the_large_functions_is_that_of_hot() {
    let run = run(vec![taken(1, 1, 2), taken(64, 1, 2), taken(64, 2, 2)]);
    let table = hot(&run, &HotOptions::default());
    for (at, found) in precision(&run, None).iter().enumerate() {
        let total = table.levels[at].total.as_ref().unwrap().value;
        let costs = table.rows.iter().filter_map(|row| Some((&row.frame.name, row.costs[at].as_ref()?)));
        let large: Vec<_> = costs.filter(|(_, cost)| cost.value >= LARGE * total).collect();
        let half = |low: f64, high: f64, value: f64| (high - low) / 2.0 / value;
        let widths = large.iter().map(|(name, cost)| {
            let (low, high) = cost.interval.unwrap();
            (half(low, high, cost.value), name.as_str())
        });
        let widest = widths.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let told = found.widest.as_ref().unwrap();
        assert_eq!((told.half_width, told.frame.as_str()), (widest.0, "parse"));
        assert_eq!((widest.1, found.functions, found.windows), ("parse", 2, at + 1), "{found:?}");
        // 1.96 over the root of the samples, at least.
        assert!(told.half_width > 1.96 / (60.0 * (at + 1) as f64).sqrt(), "{found:?}");
    }
}

#[test]
fn four_times_the_windows_halve_what_is_said_to_be_known() {
    let of = |windows: usize| {
        let run = run((1..=windows).map(|replicate| taken(64, replicate, 2)).collect());
        precision(&run, None).remove(0)
    };
    let (one, four) = (of(1), of(4));
    let [one_half, four_half] = [&one, &four].map(|found| found.widest.as_ref().unwrap().half_width);
    assert!((one_half / four_half - 2.0).abs() < 0.1, "{one_half} {four_half}");
    assert_eq!(one.windows_for(four_half).map(|windows| windows.abs_diff(4) <= 1), Some(true));
    assert!((one.seconds_for(four_half).unwrap() - 8.0).abs() < 0.8, "{:?}", one.seconds_for(four_half));
}

#[test]
fn a_goal_is_stored_with_the_run_and_what_it_would_take_is_said() {
    let goal = PrecisionGoal { half_width: 0.05, windows: 4 };
    let run = run((1..=4).map(|replicate| taken(64, replicate, 2)).collect());
    let manifest = Manifest { precision: Some(goal), ..run.manifest.clone() };
    let stored = serde_json::to_value(&manifest).unwrap();
    assert_eq!(stored["precision"], serde_json::json!({"half_width": 0.05, "windows": 4}));
    let read: Manifest = serde_json::from_value(stored).unwrap();
    assert_eq!(read.precision, Some(goal));
    let earlier: Manifest = serde_json::from_value(serde_json::to_value(&run.manifest).unwrap()).unwrap();
    assert_eq!(earlier.precision, None, "a run of an earlier version has none");
    let run = Run { manifest: read, ..run };
    let notes = precision_notes(&precision(&run, None), run.manifest.precision);
    assert!(notes[0].starts_with("precision: functions with at least 5 % of the CPU are known to ±1"), "{notes:?}");
    let asked = "precision: ±5 % was asked for (--precision): not reached at level 64 after 4 windows, the most that \
                 may be taken (--max-windows): it would take some ";
    assert!(notes[1].starts_with(asked) && notes[1].ends_with("windows of 2.00 s)"), "{notes:?}");
}
