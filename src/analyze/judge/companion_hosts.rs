//! Companions that were sampled on hosts of their own: how well their clocks are known. Invariant: the worst window
//! stands for all, and a window without the companion is counted as one without.

use crate::run::{CompanionHost, Run};
use crate::words::time;
use std::collections::BTreeMap;

/// Of the window, from which on its companion is not of the same seconds.
const MUCH: f64 = 0.01;

/// A sentence for each companion of another host.
pub fn companion_hosts(run: &Run) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<(&CompanionHost, f64)>> = BTreeMap::new();
    for window in &run.windows {
        for own in &window.companions {
            let host = own.host.as_ref().map(|host| (host, window.facts.span.nanos() as f64));
            found.entry(&own.process).or_default().extend(host);
        }
    }
    found.into_iter().filter_map(|(process, hosts)| sentence(process, &hosts, run.windows.len())).collect()
}

fn sentence(process: &str, found: &[(&CompanionHost, f64)], windows: usize) -> Option<String> {
    let (worst, _) = found.iter().max_by_key(|(host, _)| host.bound)?;
    let off = found.iter().map(|(host, nanos)| host.bound as f64 / nanos.max(1.0)).fold(0.0, f64::max);
    let much = match off > MUCH {
        true => format!("; that is {:.1} % of the window: use longer ones", 100.0 * off),
        false => String::new(),
    };
    Some(format!(
        "{process} was sampled on {}, in the same windows by its clock, which is known to {} at worst (shortest round \
         trip {}) in {} of {windows} windows{much}",
        worst.host,
        time(worst.bound as f64),
        time(worst.round_trip as f64),
        found.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Companion, build};
    use crate::sample::SamplingReport;

    #[test]
    fn a_companion_of_another_host_is_told_with_the_bound_of_its_clock_in_the_worst_window() {
        let companion = |bound: Option<u64>| Companion {
            process: "postgres@db1".into(),
            sampling: SamplingReport::default(),
            account: None,
            server: None,
            host: bound.map(|bound| CompanionHost {
                host: "ssh://db1".into(),
                bound,
                round_trip: 2_000_000,
                readings: 9,
                bytes: 1,
            }),
            profile: None,
        };
        let window = |bound| {
            let mut window = build::window(1, 1, 3, 1_000, None);
            window.companions.extend(bound);
            window
        };
        let windows =
            vec![window(Some(companion(Some(1_000_000)))), window(Some(companion(Some(3_000_000)))), window(None)];
        let told = companion_hosts(&build::run(windows));
        assert_eq!(
            told,
            ["postgres@db1 was sampled on ssh://db1, in the same windows by its clock, which is known to 3.00 ms at \
              worst (shortest round trip 2.00 ms) in 2 of 3 windows"]
        );
        assert!(companion_hosts(&build::run(vec![window(Some(companion(None)))])).is_empty());
        let far = companion_hosts(&build::run(vec![window(Some(companion(Some(200_000_000))))]));
        assert!(far[0].contains("use longer ones"), "{far:?}");
    }
}
