//! How many load threads there are, and why: stored with each window, and told in words. Invariant: what was not read
//! is absent, and the words come from what is stored.

use crate::words::counted;
use serde::{Deserialize, Serialize};

/// How the number of load threads came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadChoice {
    /// Why there are as many as there are, and no more.
    pub why: WhyThreads,
    /// Of the last reading before it was settled: the share of its time, 0..1, that the busiest load thread was on a
    /// CPU or waited for one; `None`: not measured, or not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest: Option<f64>,
    /// Of the same reading: CPUs that the load threads may use and that were idle, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_cpus: Option<f64>,
}

/// Why there are no more load threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyThreads {
    /// The user said how many.
    Given,
    /// Each has time to spare.
    Enough,
    /// They are busy, and there is no idle CPU for another.
    CpusFull,
    /// They are busy, and there is one for each CPU.
    OnePerCpu,
    /// They are busy, and there is one for each client.
    OnePerClient,
    /// How busy they are could not be read.
    NotMeasured,
}

impl ThreadChoice {
    /// The number is the user's.
    pub fn given() -> ThreadChoice {
        ThreadChoice::unread(WhyThreads::Given)
    }

    /// Nothing was read for it.
    pub fn unread(why: WhyThreads) -> ThreadChoice {
        ThreadChoice { why, busiest: None, idle_cpus: None }
    }

    /// No thread could be added, because there was no CPU to run it.
    pub fn no_room(&self) -> bool {
        matches!(self.why, WhyThreads::CpusFull | WhyThreads::OnePerCpu)
    }

    /// As words, of so many threads.
    pub fn told(&self, threads: usize) -> String {
        format!("{}{}", counted(threads as u64, "load thread"), self.reason(threads))
    }

    /// How busy they are and why there are no more, to follow their number.
    pub fn reason(&self, threads: usize) -> String {
        let busy = match (self.busiest, threads) {
            (None, _) => String::new(),
            (Some(share), 1) => format!(", {:.0} % busy", 100.0 * share),
            (Some(share), _) => format!(", the busiest {:.0} % busy", 100.0 * share),
        };
        let why = match self.why {
            WhyThreads::Given => " as given",
            WhyThreads::Enough => "",
            WhyThreads::CpusFull => "; no CPU was idle for another",
            WhyThreads::OnePerCpu => "; there is one for each CPU",
            WhyThreads::OnePerClient => "; there is one for each client",
            WhyThreads::NotMeasured => "; how busy they are could not be read",
        };
        format!("{busy}{why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_told_with_its_reading_and_its_reason() {
        let of = |why, busiest, threads| ThreadChoice { why, busiest, idle_cpus: Some(0.0) }.told(threads);
        assert_eq!(of(WhyThreads::Enough, Some(0.412), 1), "1 load thread, 41 % busy");
        let full = "3 load threads, the busiest 93 % busy; no CPU was idle for another";
        assert_eq!(of(WhyThreads::CpusFull, Some(0.93), 3), full);
        assert_eq!(ThreadChoice::given().told(2), "2 load threads as given");
        let unread = ThreadChoice::unread(WhyThreads::NotMeasured).told(1);
        assert_eq!(unread, "1 load thread; how busy they are could not be read");
    }
}
