//! In what two runs are not alike besides what was measured. Invariant: what one of them did not record counts as
//! unlike what the other did, and is named as such.

use crate::connection::{legible, legible_arguments};
use crate::run::Manifest;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Something in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// In what: the host, the build, the kernel and so on, as messages name it.
    pub what: String,
    /// What the first run recorded of it, or that it did not.
    pub before: String,
    /// What the second run recorded of it, or that it did not.
    pub after: String,
    /// Their costs and times cannot be set against each other unless the user insists.
    pub incomparable: bool,
}

/// What two runs are, as far as it decides whether they can be compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Character {
    /// In the order in which they are named: what, value, and whether runs that differ in it are incomparable.
    facts: Vec<(&'static str, String, bool)>,
    /// Of the server, without its program.
    arguments: Vec<String>,
    /// Load threads of each level, and through what they go; of several windows all that occur.
    load_threads: BTreeMap<usize, BTreeSet<String>>,
}

const ARGUMENTS: &str = "arguments of the server";

/// Where a fact was not recorded.
const UNKNOWN: &str = "not recorded";

impl Character {
    /// `events` and the like are sets: a run can have been sampled in more than one way.
    pub fn of(manifest: &Manifest, sampling: &Sampling) -> Self {
        let known = |text: &str| {
            let text = text.trim();
            if text.is_empty() || text == "(not recorded)" { UNKNOWN.to_string() } else { text.to_string() }
        };
        let joined = |set: &BTreeSet<String>| known(&set.iter().cloned().collect::<Vec<_>>().join(" and "));
        let (host, target, load, side) = (&manifest.host, &manifest.target, &manifest.workload, manifest.side.as_ref());
        let arguments = target.argv.get(1..).unwrap_or_default().to_vec();
        let machine = format!("{} ({} CPUs: {})", known(&host.name), host.cpus, known(&host.cpu));
        let facts = vec![
            ("host", machine, true),
            // Waking a CPU that sleeps can be most of the latency of a few clients.
            ("idle CPUs", if host.awake { "kept awake" } else { "free to sleep" }.to_string(), true),
            ("sampling event", joined(&sampling.events), true),
            ("build", known(target.build_id.as_deref().unwrap_or_default()), false),
            (ARGUMENTS, known(&arguments.join(" ")), false),
            ("version that the server tells", known(target.version.as_deref().unwrap_or_default()), false),
            ("kernel", known(&host.kernel), false),
            ("governor", known(host.governor.as_deref().unwrap_or_default()), false),
            ("preset", known(&manifest.preset), false),
            ("set-up", known(&manifest.changes.join("; ")), false),
            ("set-up of the side", known(&side.map_or_else(String::new, |side| side.setup.join("; "))), false),
            ("workload", known(&load.statements.join("; ")), false),
            ("protocol", known(&load.protocol), false),
            ("driver", known(&load.driver), false),
            ("sampling rate", joined(&sampling.frequencies), false),
            ("unwinder", joined(&sampling.unwinders), false),
            ("window", format!("{} s after {} s", manifest.window_seconds, manifest.warmup_seconds), false),
            ("wireprof", known(manifest.tool.as_str()), false),
        ];
        Character { facts, arguments, load_threads: sampling.load_threads.clone() }
    }

    /// The value of a fact for people. Of arguments, which may be dozens of kilobytes, those that `other` has not.
    fn shown(&self, fact: &(&'static str, String, bool), other: &Character) -> String {
        if fact.0 != ARGUMENTS || fact.1 == UNKNOWN {
            return legible(&fact.1);
        }
        let own: Vec<&String> = self.arguments.iter().filter(|own| !other.arguments.contains(own)).collect();
        match own.is_empty() {
            true => "none that the other has not, or in another order".into(),
            false => legible_arguments(own),
        }
    }

    pub fn unlike(&self, after: &Character) -> Vec<Unlike> {
        let pairs = self.facts.iter().zip(&after.facts).filter(|(before, after)| before.1 != after.1);
        let named = pairs.map(|(own, other)| Unlike {
            what: own.0.to_string(),
            before: self.shown(own, after),
            after: after.shown(other, self),
            incomparable: own.2,
        });
        named.chain(self.unlike_load_threads(after)).collect()
    }

    /// Of the levels that both runs have. A server answers the same whoever asks, so the runs can be compared; where
    /// the generator is the limit of one of them, its checks say so.
    fn unlike_load_threads(&self, after: &Character) -> Option<Unlike> {
        let differ = |level: &&usize| {
            let own = self.load_threads.get(level);
            after.load_threads.get(level).is_some_and(|other| own != Some(other))
        };
        let differ: Vec<usize> = self.load_threads.keys().filter(differ).copied().collect();
        let told = |of: &Character| {
            let of_level = |level: &usize| {
                let numbers: Vec<&str> = of.load_threads[level].iter().map(String::as_str).collect();
                format!("{} at level {level}", numbers.join(" and "))
            };
            differ.iter().map(of_level).collect::<Vec<_>>().join(", ")
        };
        (!differ.is_empty()).then(|| Unlike {
            what: "load threads".into(),
            before: told(self),
            after: told(after),
            incomparable: false,
        })
    }

    /// Both runs are of this one build, where that is known.
    pub fn same_build(&self, after: &Character) -> Option<String> {
        let build = |of: &Character| of.facts.iter().find(|fact| fact.0 == "build").map(|fact| fact.1.clone());
        build(self).filter(|own| own != UNKNOWN && build(after).as_ref() == Some(own))
    }
}

/// How a run's windows were sampled, and by how many threads they were driven.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampling {
    pub events: BTreeSet<String>,
    pub unwinders: BTreeSet<String>,
    pub frequencies: BTreeSet<String>,
    /// By level, where the driver tells: their number, and through what they go where that was kept.
    pub load_threads: BTreeMap<usize, BTreeSet<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl Fn(&mut Manifest)) -> Character {
        let mut manifest = crate::analyze::compare::difference::constructed::manifest("r", &[1]);
        change(&mut manifest);
        Character::of(&manifest, &Sampling::default())
    }

    #[test]
    fn what_differs_is_named_and_only_an_unlike_host_or_event_is_incomparable() {
        let like = manifest(|_| ());
        assert_eq!(like.unlike(&manifest(|_| ())), []);
        let other = manifest(|m| {
            m.host.name = "other".into();
            m.host.awake = true;
            m.host.kernel = "6.1".into();
            m.target.build_id = None;
        });
        let found = like.unlike(&other);
        let named: Vec<_> = found.iter().map(|u| (u.what.as_str(), u.after.as_str(), u.incomparable)).collect();
        assert_eq!(
            named,
            [
                ("host", "other (2 CPUs: cpu)", true),
                ("idle CPUs", "kept awake", true),
                ("build", "not recorded", false),
                ("kernel", "6.1", false)
            ]
        );
        let event = Sampling { events: ["cycles".to_string()].into(), ..Sampling::default() };
        let sampled = Character::of(&crate::analyze::compare::difference::constructed::manifest("r", &[1]), &event);
        assert!(like.unlike(&sampled).iter().any(|u| u.what == "sampling event" && u.incomparable));
    }

    #[test]
    fn unlike_numbers_of_load_threads_are_named_for_the_levels_of_both_and_refuse_nothing() {
        let with = |numbers: &[(usize, usize)]| {
            let load_threads = numbers.iter().map(|(level, threads)| (*level, [threads.to_string()].into())).collect();
            let manifest = crate::analyze::compare::difference::constructed::manifest("r", &[1]);
            Character::of(&manifest, &Sampling { load_threads, ..Sampling::default() })
        };
        let before = with(&[(1, 1), (16, 1), (64, 2)]);
        assert_eq!(before.unlike(&with(&[(1, 1), (64, 2), (256, 4)])), []);
        assert_eq!(before.unlike(&with(&[])), [], "another driver is named as such");
        let found = before.unlike(&with(&[(1, 1), (16, 2), (64, 3)]));
        let named: Vec<_> = found.iter().map(|u| (&*u.what, &*u.before, &*u.after, u.incomparable)).collect();
        assert_eq!(named, [("load threads", "1 at level 16, 2 at level 64", "2 at level 16, 3 at level 64", false)]);
    }

    #[test]
    fn of_unlike_arguments_those_that_differ_are_shown_and_long_ones_cut() {
        let with =
            |argument: String| manifest(|m| m.target.argv = vec!["s".into(), "--same=1".into(), argument.clone()]);
        let found = with("--a=1".into()).unlike(&with(format!("--a={}", "x".repeat(1000))));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].before, "--a=1");
        assert!(found[0].after.ends_with("xxx… (1,004 characters)"), "{}", found[0].after);
    }

    #[test]
    fn the_same_build_is_known_only_where_a_build_is() {
        let (known, unknown) = (manifest(|_| ()), manifest(|m| m.target.build_id = None));
        assert_eq!(known.same_build(&manifest(|_| ())).as_deref(), Some("ab12"));
        assert_eq!(unknown.same_build(&manifest(|m| m.target.build_id = None)), None);
    }
}
