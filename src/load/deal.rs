//! Connections and arrivals dealt out among load threads, at first and again while the load runs. Invariant: the
//! threads' numbers of connections differ by one at most, and each execution of an open loop is in exactly one lane.

use super::lane::Lane;
use std::collections::BTreeMap;

/// What is left to do of an open loop: nothing of it has begun at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Executions that are left before `from`, ascending: lanes that lag behind the others have not begun them.
    pub owed: Vec<u64>,
    /// All executions from here on are left.
    pub from: u64,
}

impl Arrivals {
    /// What the lanes of one job have left.
    pub fn left_by<'a>(lanes: impl IntoIterator<Item = &'a Lane>) -> Arrivals {
        let lanes: Vec<&Lane> = lanes.into_iter().collect();
        let from = lanes.iter().map(|lane| lane.arrival()).max().unwrap_or(0);
        let mut owed: Vec<u64> = lanes.iter().flat_map(|lane| lane.before(from)).collect();
        owed.sort_unstable();
        Arrivals { owed, from }
    }
}

/// What one thread gets.
pub struct Hand {
    /// Which connections, by their places in what was dealt, each with the place of its lane in `lanes`.
    pub connections: Vec<(usize, usize)>,
    /// One for each job that it has a connection of.
    pub lanes: Vec<Lane>,
}

/// Deals connections out, given the job of each: connection `i` goes to thread `i` modulo `threads`. `left` has what is
/// left of jobs that have begun.
pub fn deal(jobs: &[usize], threads: usize, left: &BTreeMap<usize, Arrivals>) -> Vec<Hand> {
    // Of each job: the threads that have a connection of it.
    let mut having: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for thread in 0..threads {
        for job in jobs.iter().skip(thread).step_by(threads) {
            let of_job = having.entry(*job).or_default();
            if of_job.last() != Some(&thread) {
                of_job.push(thread);
            }
        }
    }
    let nothing = Arrivals::default();
    let hand = |thread: usize| {
        let lane = |(job, of_job): (&usize, &Vec<usize>)| {
            let index = of_job.iter().position(|having| *having == thread)?;
            Some(Lane::new(*job, left.get(job).unwrap_or(&nothing), index, of_job.len()))
        };
        let lanes: Vec<Lane> = having.iter().filter_map(lane).collect();
        let connections = jobs.iter().enumerate().skip(thread).step_by(threads);
        let place = |job: usize| lanes.iter().position(|lane| lane.job == job);
        let connections = connections.filter_map(|(at, job)| Some((at, place(*job)?))).collect();
        Hand { connections, lanes }
    };
    (0..threads).map(hand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_dealt_evenly_and_each_is_dealt_once() {
        for connections in 1..=70 {
            for threads in 1..=connections.min(9) {
                // Two jobs, the first with a third of the connections.
                let jobs: Vec<usize> = (0..connections).map(|at| usize::from(at >= connections / 3)).collect();
                let hands = deal(&jobs, threads, &BTreeMap::new());
                let counts: Vec<usize> = hands.iter().map(|hand| hand.connections.len()).collect();
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "{connections} on {threads}: {counts:?}");
                let mut dealt: Vec<usize> = hands.iter().flat_map(|h| h.connections.iter().map(|c| c.0)).collect();
                dealt.sort_unstable();
                assert_eq!(dealt, (0..connections).collect::<Vec<_>>());
                for hand in &hands {
                    assert!(hand.connections.iter().all(|(at, lane)| hand.lanes[*lane].job == jobs[*at]));
                }
            }
        }
    }

    #[test]
    fn a_thread_has_a_lane_for_each_job_that_it_has_a_connection_of() {
        let hands = deal(&[0, 1, 1, 1], 2, &BTreeMap::new());
        let jobs: Vec<Vec<usize>> = hands.iter().map(|hand| hand.lanes.iter().map(|lane| lane.job).collect()).collect();
        assert_eq!(jobs, [vec![0, 1], vec![1]]);
    }
}
