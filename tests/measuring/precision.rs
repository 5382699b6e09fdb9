//! A sweep that takes windows until functions are known as precisely as was asked, and one rate of samples for all of
//! them, by the real binaries.

use crate::sweeps::*;
use wireprof::run::{PrecisionGoal, WindowId};

#[test]
fn a_precision_is_asked_for_and_windows_are_taken_until_it_is_reached_or_there_are_enough() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let asked = ["--testbed", "--levels", "4", "--window", "500ms", "--no-metrics", "--no-wire"];
    let answer = place.sweep(&[&asked[..], &["--precision", "90%", "--max-windows", "4"]].concat());
    answer.assert_done(&place);
    let run = place.the_run();
    assert_eq!(run.manifest.precision, Some(PrecisionGoal { half_width: 0.9, windows: 4 }));
    assert_eq!((run.manifest.ended.as_str(), run.manifest.replicates), ("complete", 1));
    // One was planned, and fewer than three do not show how windows differ.
    let windows: Vec<WindowId> = run.windows.iter().map(|window| window.id()).collect();
    assert!((3..=4).contains(&windows.len()), "{windows:?}");
    assert_eq!(run.manifest.order, windows);
    for told in ["; then further ones until the precision is reached, at most 4 a level", "further window"] {
        assert!(answer.err.contains(told), "no {told:?} in: {}", answer.err);
    }
    let ended = "precision: ±90 % was asked for (--precision): ";
    assert!(answer.err.contains(ended) && answer.out.contains(ended), "{}\n{}", answer.out, answer.err);
    let chosen: Vec<_> = run.windows.iter().map(|window| window.sampling.as_ref().unwrap().chosen.clone()).collect();
    let first = chosen[0].clone().expect("why so often");
    assert!(chosen.iter().all(|chosen| chosen.as_ref() == Some(&first)), "{chosen:?}");
    assert_eq!(first.budget, Some(1.0));
    // One window of 500 ms and its warm-up are no time to ask the target in.
    let short = "what it takes of the target was not measured: the run is planned for less than 4.80 s";
    let metal = "what it takes of the target was not measured: this is no virtual machine";
    assert!([short, metal].iter().any(|why| first.told().contains(why)), "{}", first.told());
    assert!(answer.out.contains(&format!("sampling: {}", first.told()).replace('\n', " ")[..60]), "{}", answer.out);
    assert!(
        answer.out.contains("of the target's CPU, by the kernel's account, the samples took at least"),
        "{}",
        answer.out
    );
}
