//! Whether the instruments saw the server that answered the queries. Invariant: an instrument that saw nothing of a
//! server at work is blind, and its figures are not 0 but not measured; which one is, is told by the evidence alone.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the instruments saw of the target while queries were answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Queries answered in the window (a count).
    pub completed: u64,
    /// ns of wall time that the CPU was accounted over.
    pub nanos: u64,
    /// ns of CPU that the kernel accounts to the target; `None`: not measured.
    pub accounted: Option<u64>,
    /// ns of CPU that it accounts to descendants of the target that do not count with it; `None`: there are none, or
    /// they were not measured.
    pub children: Option<u64>,
    /// Samples of the target (a count); `None`: stacks were not sampled, or are not counted.
    pub samples: Option<u64>,
    /// ns of CPU that a sample stands for; `None`: not known.
    pub period: Option<u64>,
    /// Waits of the target that ended (a count); `None`: not followed.
    pub waits: Option<u64>,
    /// Why the sampler sees only some of the processes, in its own words; `None`: it sees all.
    pub restricted: Option<String>,
}

/// What can be blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// The kernel's accounting of CPU and run-queue time.
    Accounting,
    /// Samples of the stacks.
    Samples,
    /// Off-CPU time by stack.
    Waits,
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blind::Accounting => "the kernel's accounting of CPU",
            Blind::Samples => "samples of its stacks",
            Blind::Waits => "its waits off CPU",
        })
    }
}

/// ns: whoever answers a query takes more CPU than this, for it reads a socket and writes to one.
const LEAST_CPU: f64 = 200.0;
/// The children that do not count are busier than the target by this factor, and the target is idle for all but so
/// much of the time: it only looks after them.
const CHILDREN: u64 = 50;
const IDLE: f64 = 0.005;
/// Samples that are expected at least where none is a fault and no accident: none comes with a probability of exp(-7).
const EXPECTED: f64 = 7.0;
/// Share of one CPU from which on a target may never have waited.
const NEVER_WAITS: f64 = 0.9;

impl Seen {
    /// The instruments that saw nothing of a server that worked.
    pub fn blind(&self) -> Vec<Blind> {
        let mut blind = Vec::new();
        if self.completed == 0 {
            return blind;
        }
        let other = self.is_another();
        blind.extend(other.then_some(Blind::Accounting));
        let sampled =
            |samples: u64| if other { self.few(samples) } else { samples == 0 && self.expected() >= EXPECTED };
        blind.extend(self.samples.is_some_and(sampled).then_some(Blind::Samples));
        let rests = self.accounted.is_none_or(|cpu| (cpu as f64) < NEVER_WAITS * self.nanos as f64);
        // Who looks after children waits for them, not for queries.
        blind.extend(self.waits.is_some_and(|waits| other || waits == 0 && rests).then_some(Blind::Waits));
        blind
    }

    /// The accounted process cannot be who answers.
    fn is_another(&self) -> bool {
        let Some(cpu) = self.accounted else { return false };
        let idle = (cpu as f64) < IDLE * self.nanos as f64;
        let watches = self.children.is_some_and(|children| idle && children > CHILDREN * cpu);
        watches || (cpu as f64) < LEAST_CPU * self.completed as f64
    }

    /// As few samples as an idle process has.
    fn few(&self, samples: u64) -> bool {
        self.period.map_or(samples == 0, |period| samples as f64 * period as f64 <= 2.0 * IDLE * self.nanos as f64)
    }

    /// Samples that the accounted CPU, or the least that the queries took, must have given.
    fn expected(&self) -> f64 {
        let least = LEAST_CPU * self.completed as f64;
        let cpu = self.accounted.map_or(least, |cpu| cpu as f64);
        self.period.map_or(0.0, |period| cpu / period as f64)
    }

    /// Whether the target's children that do not count with it use more CPU than itself.
    pub fn children_work(&self) -> bool {
        self.children.is_some_and(|children| children > self.accounted.unwrap_or(0))
    }

    /// Why the instruments are blind, most likely.
    pub fn cause(&self) -> String {
        let seconds = |nanos: Option<u64>| nanos.unwrap_or(0) as f64 / 1e9;
        match (self.children_work(), self.is_another(), &self.restricted) {
            (true, ..) => format!(
                "its child processes do the work ({:.2} s of CPU, the process itself {:.3} s) and are not followed",
                seconds(self.children),
                seconds(self.accounted)
            ),
            (false, true, _) => {
                "another process answers: the one that is measured is not the server, or only stands before it".into()
            }
            (false, false, Some(why)) => format!("this user may not sample all of the server ({why})"),
            (false, false, None) => "what was watched is not what answers".into(),
        }
    }

    /// What mends that.
    pub fn remedy(&self) -> &'static str {
        match (self.children_work(), self.is_another(), self.restricted.is_none()) {
            (true, ..) => {
                "name the server's preset (--preset postgres), or one with `children = true` under [process], so that \
                    children count with the process that listens"
            }
            (false, true, _) => {
                "give the process id of the server that answers with --pid; `wireprof doctor` tells who listens"
            }
            (false, false, false) => {
                "run as root, or give the wireprof binary the capabilities that `wireprof doctor` names"
            }
            (false, false, true) => {
                "see `wireprof doctor`, and give the process id of the server that answers with --pid"
            }
        }
    }

    /// The evidence in words; what is blind comes first.
    pub(super) fn sentence(&self) -> String {
        let blind = self.blind();
        let names: Vec<String> = blind.iter().map(ToString::to_string).collect();
        if blind.is_empty() {
            return format!("the instruments saw the server that answered {} queries{}", self.completed, self.beside());
        }
        format!(
            "the server answered {} queries, of which the process that is measured as the server shows nothing in {}: \
             {}",
            self.completed,
            names.join(", "),
            self.cause()
        )
    }

    fn beside(&self) -> String {
        match self.children.filter(|_| self.children_work()) {
            Some(children) => format!(
                "; its child processes, which do not count with it, used {:.2} s of CPU, more than its own {:.2} s",
                children as f64 / 1e9,
                self.accounted.unwrap_or(0) as f64 / 1e9
            ),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// 10,000 queries in five seconds, each 30 us of CPU, sampled at 1 kHz.
    fn seen() -> Seen {
        Seen {
            completed: 10_000,
            nanos: 5 * SECOND,
            accounted: Some(SECOND * 3 / 10),
            samples: Some(300),
            period: Some(1_000_000),
            waits: Some(10_000),
            ..Seen::default()
        }
    }

    #[test]
    fn a_server_that_every_instrument_saw_has_no_blind_one() {
        assert_eq!(seen().blind(), []);
        assert_eq!(Seen { samples: None, waits: None, accounted: None, ..seen() }.blind(), []);
        assert_eq!(Seen { completed: 0, samples: Some(0), waits: Some(0), accounted: Some(0), ..seen() }.blind(), []);
    }

    #[test]
    fn a_parent_whose_children_answer_is_seen_by_nothing() {
        for (completed, own) in [(10_000, 400_000), (10, 400_000), (10_000, 0)] {
            let parent = Seen { completed, accounted: Some(own), children: Some(SECOND), samples: Some(0), ..seen() };
            assert_eq!(parent.blind(), [Blind::Accounting, Blind::Samples, Blind::Waits], "{completed} {own}");
            assert!(
                parent.cause().contains("not followed") && parent.remedy().contains("--preset"),
                "{}",
                parent.cause()
            );
        }
    }

    #[test]
    fn samples_that_must_be_there_and_are_not_are_blind_and_few_expected_ones_are_not() {
        let none = Seen { samples: Some(0), restricted: Some("one event per thread".into()), ..seen() };
        assert_eq!(none.blind(), [Blind::Samples]);
        assert!(none.cause().contains("may not sample") && none.remedy().contains("capabilities"));
        let idle = Seen { completed: 100, accounted: Some(3_000_000), samples: Some(0), ..seen() };
        assert_eq!(idle.blind(), [], "3 ms of CPU may give no sample at 1 kHz");
        let unaccounted = Seen { accounted: None, samples: Some(0), completed: 100_000, ..seen() };
        assert_eq!(unaccounted.blind(), [Blind::Samples]);
    }

    #[test]
    fn no_wait_is_blind_unless_the_server_never_rests() {
        assert_eq!(Seen { waits: Some(0), ..seen() }.blind(), [Blind::Waits]);
        assert_eq!(Seen { waits: Some(0), accounted: Some(5 * SECOND), ..seen() }.blind(), []);
    }

    #[test]
    fn a_server_with_busy_helpers_is_still_the_server() {
        let helped = Seen { children: Some(20 * SECOND), ..seen() };
        assert_eq!(helped.blind(), []);
        assert!(helped.children_work() && helped.sentence().contains("more than its own"));
    }

    #[test]
    fn another_process_is_told_where_it_has_no_children() {
        let other = Seen { accounted: Some(1_000), samples: Some(0), ..seen() };
        assert_eq!(other.blind(), [Blind::Accounting, Blind::Samples, Blind::Waits]);
        assert!(other.cause().contains("another process answers") && other.remedy().contains("--pid"));
    }
}
