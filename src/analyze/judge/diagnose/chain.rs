//! The chain behind a wait, as a verdict tells it: alike steps taken together, its heaviest path, and at what it ends.
//! Invariant: the links behind a link sum to it, and so do its ends; a queue of waits at one function is one link, for
//! each in it waits for the one before.

use crate::analyze::Identity;
use crate::analyze::time::hands::{Step, in_words};
use crate::carriers::State;
use crate::profile::{short_name, without_closures};
use crate::words::time;

/// Steps that a sentence tells at most.
const TOLD: usize = 3;
/// Of the links behind one, for a link to stand for them though another is longer.
const MATTERS: f64 = 0.1;

/// Alike steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    /// Whose time it is, in words.
    pub who: String,
    /// What it does; [`State::Waiting`] for all that does not go on until somebody ends it.
    pub state: State,
    /// The function where it waits.
    pub function: Option<Identity>,
    /// The port behind which it waits for an answer.
    pub behind: Option<u16>,
    /// ns a query.
    pub nanos: f64,
    /// What the one that ended it did meanwhile, the longest first.
    pub next: Vec<Link>,
}

/// What the time of a chain ends at, ns a query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ends {
    /// Timers, sleep, devices, and what could not be followed.
    pub outside: f64,
    /// The same within a wait for an answer from behind the server.
    pub behind: f64,
    /// On a CPU: work of those that are waited for.
    pub cpu: f64,
    /// Ready, without a CPU or a worker: contention for these.
    pub ready: f64,
}

impl Ends {
    pub fn total(self) -> f64 {
        self.counted() + self.ready
    }

    /// What would go with the wait.
    pub fn counted(self) -> f64 {
        self.outside + self.behind + self.cpu
    }
}

/// The links of the steps behind a wait of so many ns at this function; empty where nothing is known.
pub(super) fn links(steps: &[&Step], at: Option<&Identity>, nanos: f64) -> Vec<Link> {
    let mut found: Vec<(Link, Vec<&Step>)> = Vec::new();
    let mut pending: Vec<&Step> = steps.iter().rev().copied().collect();
    while let Some(step) = pending.pop() {
        let asleep = step.state.is_asleep();
        if asleep && step.function.is_some() && step.function.as_ref() == at {
            // The one before in the queue. Where it is not followed further, the others stand for it.
            pending.extend(&step.children);
            continue;
        }
        let state = if asleep { State::Waiting } else { step.state };
        let alike = |link: &Link| {
            (link.state, link.behind, &link.who, &link.function) == (state, step.behind, &step.who, &step.function)
        };
        match found.iter_mut().find(|(link, _)| alike(link)) {
            Some((link, children)) => {
                link.nanos += step.nanos;
                children.extend(&step.children);
            }
            None => {
                let (who, function) = (step.who.clone(), step.function.clone());
                let link = Link { who, state, function, behind: step.behind, nanos: step.nanos, next: Vec::new() };
                found.push((link, step.children.iter().collect()));
            }
        }
    }
    let sum: f64 = found.iter().map(|(link, _)| link.nanos).sum();
    let grown = |(mut link, children): (Link, Vec<&Step>)| {
        link.nanos *= nanos / sum;
        link.next = links(&children, link.function.as_ref(), link.nanos);
        link
    };
    let mut links: Vec<Link> = found.into_iter().filter(|_| sum > 0.0).map(grown).collect();
    links.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    links
}

/// What the time of these links ends at; `behind`: they are within a wait for an answer from there.
pub(super) fn ends(links: &[Link], behind: bool) -> Ends {
    links.iter().map(|link| link.ends(behind)).fold(Ends::default(), |sum, ends| Ends {
        outside: sum.outside + ends.outside,
        behind: sum.behind + ends.behind,
        cpu: sum.cpu + ends.cpu,
        ready: sum.ready + ends.ready,
    })
}

impl Link {
    fn ends(&self, behind: bool) -> Ends {
        let behind = self.is_behind(behind);
        if !self.next.is_empty() {
            return ends(&self.next, behind);
        }
        let none = Ends::default();
        match self.state {
            State::Running => Ends { cpu: self.nanos, ..none },
            State::Runnable | State::Queued => Ends { ready: self.nanos, ..none },
            _ if behind => Ends { behind: self.nanos, ..none },
            _ => Ends { outside: self.nanos, ..none },
        }
    }

    fn is_behind(&self, above: bool) -> bool {
        above || self.behind.is_some() || matches!(self.state, State::Behind { .. } | State::BeforeHop { .. })
    }

    /// Makes what ends outside so many times as long, and all else so many times; `behind`: it is within a wait for an
    /// answer from there.
    pub fn take(&mut self, outside: f64, other: f64, behind: bool) {
        let behind = self.is_behind(behind);
        if self.next.is_empty() {
            self.nanos *= if self.ends(behind).outside > 0.0 { outside } else { other };
            return;
        }
        self.next.iter_mut().for_each(|link| link.take(outside, other, behind));
        self.nanos = self.next.iter().map(|link| link.nanos).sum();
        self.next.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    }
}

/// The heaviest link at each depth. What is ready and waits for a CPU or a worker is on no path where anything else
/// matters: the wait is not for that.
pub(super) fn heaviest(links: &[Link]) -> Vec<&Link> {
    let mut path = Vec::new();
    let mut links = links;
    while let Some(first) = links.first() {
        let sum: f64 = links.iter().map(|link| link.nanos).sum();
        let ready = |link: &Link| matches!(link.state, State::Runnable | State::Queued);
        let link = links.iter().find(|link| !ready(link) && link.nanos >= MATTERS * sum).unwrap_or(first);
        path.push(link);
        links = &link.next;
    }
    path
}

/// A function as a sentence names it: its own name, and its type's.
pub(super) fn brief(name: &str) -> String {
    let whole = without_closures(&short_name(name));
    let parts: Vec<&str> = whole.split("::").collect();
    let is_type = |part: &&str| part.starts_with(|letter: char| letter.is_uppercase());
    let from = match parts.len() {
        0 | 1 => 0,
        length if is_type(&parts[length - 2]) => length - 2,
        length => length - 1,
    };
    parts[from..].join("::")
}

/// The heaviest path in words, as the end of a sentence; empty where nothing is known.
pub(super) fn in_a_sentence(path: &[&Link]) -> String {
    let told = path.iter().take(TOLD).enumerate().map(|(at, link)| {
        let who = link.who.strip_prefix("task ").map_or(link.who.clone(), |task| format!("task {}", brief(task)));
        let ended = format!(", until {who} {}", if at == 0 { "ends it" } else { "ends that" });
        let spent = |doing: String| format!("{ended}; that one spends {} of it {doing}", time(link.nanos));
        let port = link.behind.map_or(String::new(), |port| format!(" for port {port}"));
        match (link.state, &link.function) {
            (State::Running, _) => spent("on a CPU".into()),
            (State::Waiting, Some(function)) => spent(format!("waiting{port} in {}", brief(&function.name))),
            (State::Waiting, None) => spent(format!("waiting{port}")),
            (State::Outside | State::Unseen | State::NotTold, _) => ended.clone(),
            (state, _) => spent(in_words(state, None, None)),
        }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Space;

    fn function(name: &str) -> Option<Identity> {
        Some(Identity { name: name.into(), module: "server".into(), space: Space::User })
    }

    fn step(who: &str, state: State, at: &str, nanos: f64, children: Vec<Step>) -> Step {
        let function = function(at).filter(|_| !at.is_empty());
        Step { who: who.into(), state, function, wait_event: None, behind: None, nanos, children }
    }

    fn of(steps: &[Step], at: &str, nanos: f64) -> Vec<Link> {
        links(&steps.iter().collect::<Vec<_>>(), function(at).as_ref(), nanos)
    }

    #[test]
    fn alike_steps_are_one_link_and_all_links_sum_to_the_wait() {
        let outside = |nanos| vec![step("an interrupt", State::Outside, "", nanos, vec![])];
        let steps = [
            step("task worker", State::WaitsAlready, "ask", 300.0, outside(300.0)),
            step("task worker", State::Waiting, "ask", 500.0, outside(500.0)),
            step("task worker", State::Running, "", 150.0, vec![]),
            step("task worker", State::Queued, "", 50.0, vec![]),
        ];
        let found = of(&steps, "request", 2_000.0);
        assert_eq!(found.iter().map(|link| link.nanos).collect::<Vec<_>>(), [1_600.0, 300.0, 100.0]);
        let expected = Ends { outside: 1_600.0, behind: 0.0, cpu: 300.0, ready: 100.0 };
        assert_eq!(ends(&found, false), expected);
        let told = in_a_sentence(&heaviest(&found));
        let expected =
            ", until task worker ends it; that one spends 1.60 µs of it waiting in ask, until an interrupt ends that";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_queue_at_one_function_ends_at_what_those_before_do_with_it() {
        // Two before it, and the one before those is not followed.
        let hold = || step("task session", State::Waiting, "hold", 10.0, vec![]);
        let third = step("task session", State::WaitsAlready, "acquire", 10.0, vec![]);
        let second = step("task session", State::WaitsAlready, "acquire", 20.0, vec![hold(), third]);
        let first = step("task session", State::WaitsAlready, "acquire", 30.0, vec![second, hold()]);
        let found = of(&[first], "acquire", 30.0);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].function.clone(), found[0].nanos), (function("hold"), 30.0));
    }

    #[test]
    fn what_lies_within_a_wait_for_a_port_ends_behind_but_for_what_runs_or_is_ready() {
        let mut trip = step(
            "task pool",
            State::Waiting,
            "query",
            100.0,
            vec![
                step("a thread", State::WaitsAlready, "select", 80.0, vec![]),
                step("a thread", State::Runnable, "", 20.0, vec![]),
            ],
        );
        trip.behind = Some(5432);
        let found = of(&[trip], "read", 100.0);
        assert_eq!(ends(&found, false), Ends { outside: 0.0, behind: 80.0, cpu: 0.0, ready: 20.0 });
        let told = in_a_sentence(&heaviest(&found)[..1]);
        assert_eq!(told, ", until task pool ends it; that one spends 100 ns of it waiting for port 5432 in query");
    }
}
