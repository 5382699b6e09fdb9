//! What goes together in runs built by hand: a tick in the slowest slices, and a function and a metric that rise
//! together.

use crate::build::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use wireprof::analyze::time::correlation::*;
use wireprof::clock::Span;
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::run::{Run, Window};

/// A window of 10 s in which something runs for 40 ms once a second at `phase` (in slices), and something else at
/// another time of the second. Queries are slower at `slow`.
fn ticking(replicate: usize, random: &mut StdRng, phase: u64, slow: impl Fn(u64) -> bool) -> Window {
    let mut stacks: Vec<Stack> = Vec::new();
    for slice in 0..200 {
        let at = |i: u64| slice * 50 + i;
        let (serving, other) = (20 + random.random_range(0..5), (phase + 9) % 20);
        stacks.extend((0..serving).map(|i| Stack("main;serve;work", at(i))));
        if slice % 20 == phase {
            stacks.extend((0..20).map(|i| Stack("main;oracle;apply_write", at(i))));
        }
        if slice % 20 == other {
            stacks.extend((0..20).map(|i| Stack("main;scrape", at(i))));
        }
    }
    let mut window = window(16, replicate, 10, 200_000, Some(profile(&stacks)));
    for (at, slice) in window.load.slices.iter_mut().enumerate() {
        let each = 1_000_000 + random.random_range(0..100_000);
        slice.latency_sum = slice.completed * if slow(at as u64) { 5 * each } else { each };
    }
    window
}

fn ticks(windows: usize, together: bool) -> Run {
    let mut random = StdRng::seed_from_u64(9);
    let made = (0..windows).map(|i| {
        let (phase, elsewhere) = (random.random_range(0..20), random.random_range(0..20));
        ticking(i + 1, &mut random, phase, |slice| slice % 20 == if together { phase } else { elsewhere })
    });
    run(made.collect())
}

fn names(found: &[SlowFrame]) -> Vec<&str> {
    found.iter().map(|row| row.frame.name.as_str()).collect()
}

#[test]
fn a_tick_that_slows_queries_once_a_second_is_found_and_one_that_does_not_is_not() {
    let found = slow_slices(&ticks(4, true)).unwrap();
    // `oracle` stands for `apply_write`, which is on the stack whenever it is.
    assert_eq!(names(&found.found), ["oracle", "main"], "{found:?}");
    assert_eq!((found.windows, found.slices, found.slow), (4, 800, 80));
    let row = &found.found[0];
    // 20 ms in each of ten slices, of twenty that are slow: 200 ms CPU/s in them, and nothing elsewhere.
    assert_eq!((row.slow / 1e6, row.rest), (200.0, 0.0));
    assert!(found.latency_slow > 2.0 * found.latency_rest, "{found:?}");
    let apart = slow_slices(&ticks(4, false)).unwrap();
    assert_eq!(names(&apart.found), [""; 0], "{apart:?}");
}

#[test]
fn one_window_of_a_tick_is_not_enough_and_what_is_missing_is_said() {
    let one = slow_slices(&ticks(1, true)).unwrap();
    assert!(!names(&one.found).contains(&"oracle") && one.least == 1.0 / 200.0, "{one:?}");
    let without = run(vec![window(1, 1, 10, 1_000, None)]);
    assert!(slow_slices(&without).unwrap_err().contains("samples with their times"));
    let mut even = ticks(1, true);
    even.windows[0].load.slices.iter_mut().for_each(|slice| slice.latency_sum = slice.completed * 1_000);
    assert!(slow_slices(&even).is_err(), "latencies that are all the same have no slowest tenth");
}

/// Windows of levels 1 to 8, twice: `contend` and the retries rise with the level, `steady` and the lookups do not.
fn growing(replicates: usize) -> Run {
    let mut random = StdRng::seed_from_u64(4);
    let mut windows = Vec::new();
    for level in [1, 2, 4, 8] {
        for replicate in 1..=replicates {
            let noise = random.random_range(0..20);
            let stacks =
                [spread("main;contend", 100 * level + 10 * replicate as u64, 5), spread("main;steady", 500 + noise, 5)];
            let mut made = window(level as usize, replicate, 5, 10_000, Some(profile(&stacks.concat())));
            let lookups = 20_000 + random.random_range(0..300);
            let text = format!(
                "# TYPE retries counter\nretries {}\n# TYPE lookups counter\nlookups {lookups}\n# TYPE rare \
                    counter\nrare {level}\n",
                1_000 * level + 50 * replicate as u64
            );
            let scrape = |at: u64, text: &str| Scrape { span: Span::new(at, at + 10), text: text.to_string() };
            let zero =
                "# TYPE retries counter\nretries 0\n# TYPE lookups counter\nlookups 0\n# TYPE rare counter\nrare 0\n";
            made.metrics = Some(MetricsDelta::between(&scrape(0, zero), &scrape(5_000_000_000, &text)));
            windows.push(made);
        }
    }
    run(windows)
}

#[test]
fn a_function_and_a_metric_that_rise_together_are_found_with_what_they_rise_by() {
    let found = together(&growing(2)).unwrap();
    assert_eq!((found.windows, found.frames, found.metrics, found.pairs), (8, 2, 2, 4), "{found:?}");
    assert_eq!(found.found.len(), 1, "{found:?}");
    let pair = &found.found[0];
    assert_eq!((pair.frame.name.as_str(), pair.metric.as_str()), ("contend", "retries"));
    assert!((pair.correlation - 1.0).abs() < 1e-9, "{pair:?}");
    // (110 + 120) / 2 and (810 + 820) / 2 samples of 1 ms over 10,000 queries.
    assert!((pair.cost.0 - 11_500.0).abs() < 1e-6 && (pair.cost.1 - 81_500.0).abs() < 1e-6, "{pair:?}");
    assert!((pair.change.0 - 0.1075).abs() < 1e-9 && (pair.change.1 - 0.8075).abs() < 1e-9, "{pair:?}");
    assert!(together(&growing(1)).unwrap_err().contains("4 windows have a profile"));
}
