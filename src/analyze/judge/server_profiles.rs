//! Profiles that servers took of themselves in the windows: where they come from, and how far they go together with the
//! window. Invariant: seconds are those that were measured; what a server does not tell is said to be not told.

use crate::run::{Run, ServerProfile};
use crate::words::{counted, significant};
use std::collections::BTreeMap;

/// A sentence for each server.
pub fn server_profiles(run: &Run) -> Vec<String> {
    run.companions().into_iter().flat_map(|process| server_profiles_of(run, process)).collect()
}

/// The sentence of one companion; none where it was sampled here.
pub fn server_profiles_of(run: &Run, process: &str) -> Vec<String> {
    let mut by_url: BTreeMap<&str, Vec<(&ServerProfile, f64)>> = BTreeMap::new();
    for window in &run.windows {
        for own in window.companions.iter().filter(|own| own.process == process) {
            let Some(server) = &own.server else { continue };
            by_url.entry(&server.url).or_default().push((server, window.facts.span.seconds()));
        }
    }
    by_url.into_iter().map(|(url, found)| sentence(process, url, &found)).collect()
}

fn sentence(process: &str, url: &str, found: &[(&ServerProfile, f64)]) -> String {
    let sum = |of: fn(&ServerProfile) -> f64| found.iter().map(|(server, _)| of(server)).sum::<f64>();
    let told: Option<f64> = found.iter().map(|(server, _)| server.profiled_seconds).sum();
    let told =
        told.map_or("a time that the server does not tell".into(), |seconds| format!("{} s", significant(seconds)));
    format!(
        "{process} is the CPU profile that the server took of itself ({url}), by its own sampler at its own rate. It \
         is of {told}, where {} s were asked for, and cannot be cut to the window. Of the {} s from asking to the \
         answer, {} s lie in the windows' {} s ({}).",
        significant(sum(|server| server.asked_seconds as f64)),
        significant(sum(|server| server.answered.seconds())),
        significant(sum(|server| server.overlap_seconds)),
        significant(found.iter().map(|(_, window)| window).sum()),
        counted(found.len() as u64, "window")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::run::{Companion, build};
    use crate::sample::SamplingReport;

    #[test]
    fn a_servers_own_profile_is_said_to_be_one_with_the_seconds_that_it_shares_with_the_window() {
        let server = ServerProfile {
            url: "http://h:1/p?seconds=2".into(),
            asked_seconds: 2,
            answered: Span::new(0, 2_200_000_000),
            profiled_seconds: Some(2.01),
            overlap_seconds: 1.5,
        };
        let companion = |process: &str, server| Companion {
            process: process.into(),
            sampling: SamplingReport::default(),
            account: None,
            server,
            host: None,
            profile: None,
        };
        let mut window = build::window(1, 1, 3, 1_000, None);
        window.companions = vec![companion("h:1", Some(server.clone())), companion("postgres", None)];
        let run = build::run(vec![window.clone()]);
        let seconds = significant(window.facts.span.seconds());
        assert_eq!(
            server_profiles(&run),
            [format!(
                "h:1 is the CPU profile that the server took of itself (http://h:1/p?seconds=2), by its own sampler at \
                 its own rate. It is of 2.01 s, where 2.00 s were asked for, and cannot be cut to the window. Of the \
                 2.20 s from asking to the answer, 1.50 s lie in the windows' {seconds} s (1 window)."
            )]
        );
        assert!(server_profiles_of(&run, "postgres").is_empty());
        window.companions = vec![companion("h:1", Some(ServerProfile { profiled_seconds: None, ..server }))];
        assert!(server_profiles(&build::run(vec![window]))[0].contains("of a time that the server does not tell"));
    }
}
