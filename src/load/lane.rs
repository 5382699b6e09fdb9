//! One thread's share of one job: which execution comes next, and when. Invariant: over all lanes of a job each
//! execution is handed out exactly once.

use super::deal::Arrivals;
use super::plan::{JobPlan, Pacing};
use crate::clock::Nanos;
use std::collections::VecDeque;

/// What a lane has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Begin this execution; in an open loop its latency counts from `scheduled`.
    Begin { execution: u64, scheduled: Option<Nanos> },
    /// Nothing before this instant.
    Wait(Nanos),
    /// Nothing any more.
    Ended,
}

/// One thread's connections of one job.
#[derive(Debug)]
pub struct Lane {
    /// Index of the job in the plan.
    pub job: usize,
    /// Connections with nothing under way.
    pub idle: Vec<usize>,
    /// Open loop: the next execution that is this lane's, and the distance to the one after it.
    arrival: u64,
    stride: u64,
    /// Executions before that which are this lane's: what lanes that lagged had left when connections moved.
    owed: VecDeque<u64>,
    ended: bool,
}

impl Lane {
    /// The lane `index` of `count` lanes of a job of which `left` is left.
    pub fn new(job: usize, left: &Arrivals, index: usize, count: usize) -> Self {
        let owed = left.owed.iter().copied().skip(index).step_by(count).collect();
        let (arrival, stride) = (left.from + index as u64, count as u64);
        Lane { job, idle: Vec::new(), arrival, stride, owed, ended: false }
    }

    /// The next execution of an open loop that is this lane's by its distance, not by debt.
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// What this lane has left before `end`.
    pub fn before(&self, end: u64) -> impl Iterator<Item = u64> {
        self.owed.iter().copied().chain((self.arrival..end).step_by(self.stride as usize))
    }

    /// What to do at `now` in a load that began at `origin`, given an idle connection.
    #[inline]
    pub fn next(&mut self, plan: &JobPlan, origin: Nanos, now: Nanos) -> Next {
        if self.ended {
            return Next::Ended;
        }
        let next = match plan.pace {
            Pacing::Closed => self.next_closed(plan, origin, now),
            Pacing::Rate { .. } | Pacing::Recorded(_) => self.next_open(plan, origin, now),
        };
        self.ended = next == Next::Ended;
        next
    }

    #[inline]
    fn next_closed(&mut self, plan: &JobPlan, origin: Nanos, now: Nanos) -> Next {
        let elapsed = now.saturating_sub(origin);
        if elapsed < plan.start {
            return Next::Wait(origin + plan.start);
        }
        if elapsed >= plan.stop {
            return Next::Ended;
        }
        plan.claim().map_or(Next::Ended, |execution| Next::Begin { execution, scheduled: None })
    }

    fn next_open(&mut self, plan: &JobPlan, origin: Nanos, now: Nanos) -> Next {
        let execution = self.owed.front().copied().unwrap_or(self.arrival);
        let due = plan.due(execution).filter(|due| *due < plan.stop && plan.within_limit(execution));
        let Some(scheduled) = due.map(|due| origin + due) else { return Next::Ended };
        if scheduled > now {
            return Next::Wait(scheduled);
        }
        if self.owed.pop_front().is_none() {
            self.arrival += self.stride;
        }
        Next::Begin { execution, scheduled: Some(scheduled) }
    }

    /// Ends the lane: nothing more is begun.
    pub fn end(&mut self) {
        self.ended = true;
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Plan, Protocol};
    use super::*;
    use crate::workload::Workload;
    use std::path::Path;

    const MS: u64 = 1_000_000;

    fn plan(options: &str) -> Plan {
        let script = format!("[a]\nquery=select 1\n{options}");
        let workload = Workload::parse(&script, Path::new("."), "w.ini").unwrap();
        Plan::new(&workload, Protocol::Simple, false).unwrap()
    }

    #[test]
    fn a_late_open_loop_keeps_its_schedule() {
        let plan = plan("rate=1000\ncount=3");
        let mut lane = Lane::new(0, &Arrivals::default(), 0, 1);
        let at = |ms| Next::Begin { execution: ms, scheduled: Some(500 + ms * MS) };
        assert_eq!(lane.next(&plan.jobs[0], 500, 500), at(0));
        assert_eq!(lane.next(&plan.jobs[0], 500, 600), Next::Wait(500 + MS));
        assert_eq!(lane.next(&plan.jobs[0], 500, 500 + 10 * MS), at(1));
        assert_eq!(lane.next(&plan.jobs[0], 500, 500 + 10 * MS), at(2));
        assert_eq!(lane.next(&plan.jobs[0], 500, 500 + 10 * MS), Next::Ended);
        assert!(lane.has_ended());
    }

    #[test]
    fn lanes_of_two_threads_share_the_arrivals() {
        let plan = plan("rate=1000\ncount=5");
        let mut taken: Vec<u64> = (0..2)
            .flat_map(|index| {
                let mut lane = Lane::new(0, &Arrivals::default(), index, 2);
                std::iter::from_fn(|| match lane.next(&plan.jobs[0], 0, u64::MAX / 2) {
                    Next::Begin { execution, .. } => Some(execution),
                    Next::Wait(_) | Next::Ended => None,
                })
                .collect::<Vec<_>>()
            })
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn arrivals_that_are_dealt_anew_are_each_taken_once_and_the_oldest_first() {
        let plan = plan("rate=1000\ncount=40");
        let begin = |lane: &mut Lane| match lane.next(&plan.jobs[0], 0, u64::MAX / 2) {
            Next::Begin { execution, .. } => Some(execution),
            Next::Wait(_) | Next::Ended => None,
        };
        let mut taken = Vec::new();
        let mut lanes = vec![Lane::new(0, &Arrivals::default(), 0, 1)];
        // One lane takes 5; of three the last one lags; of two one takes nothing; then all that is left.
        for (count, takes) in [(3, vec![5]), (2, vec![4, 3, 1]), (4, vec![0, 6]), (1, vec![2; 4]), (1, vec![99])] {
            for (lane, takes) in lanes.iter_mut().zip(takes) {
                let own: Vec<u64> = (0..takes).map_while(|_| begin(lane)).collect();
                assert!(own.is_sorted(), "{own:?}");
                taken.extend(own);
            }
            let left = Arrivals::left_by(&lanes);
            lanes = (0..count).map(|index| Lane::new(0, &left, index, count)).collect();
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_job_runs_between_its_start_and_its_stop() {
        let closed = plan("start=5ms\nstop=7ms");
        let mut lane = Lane::new(0, &Arrivals::default(), 0, 1);
        assert_eq!(lane.next(&closed.jobs[0], 100, 100), Next::Wait(100 + 5 * MS));
        assert_eq!(lane.next(&closed.jobs[0], 100, 100 + 5 * MS), Next::Begin { execution: 0, scheduled: None });
        assert_eq!(lane.next(&closed.jobs[0], 100, 100 + 7 * MS), Next::Ended);
        let open = plan("rate=1000\nstart=5ms\nstop=7ms");
        let mut lane = Lane::new(0, &Arrivals::default(), 0, 1);
        assert_eq!(lane.next(&open.jobs[0], 0, 0), Next::Wait(5 * MS));
        let begun = (0..9).filter(|_| matches!(lane.next(&open.jobs[0], 0, 9 * MS), Next::Begin { .. })).count();
        assert_eq!(begun, 2, "at 5 and 6 ms");
    }
}
