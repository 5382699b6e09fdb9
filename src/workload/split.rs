//! Connections of a level split over the jobs of a workload. Invariant: the parts sum to the level and none is 0.

use super::{Job, Pace, WorkloadError};

/// Largest remainders over the jobs' concurrency, one connection each to begin with.
///
/// # Errors
/// A level of 0, or with fewer connections than there are jobs.
pub fn proportional(level: usize, jobs: &[Job]) -> Result<Vec<usize>, WorkloadError> {
    if level < jobs.len() || level == 0 {
        return Err(WorkloadError::Level { level, jobs: jobs.len() });
    }
    let weights: Vec<usize> = jobs.iter().map(weight).collect();
    let total: usize = weights.iter().sum();
    let mut parts: Vec<usize> = weights.iter().map(|w| (level * w / total).max(1)).collect();
    while parts.iter().sum::<usize>() != level {
        let short = parts.iter().sum::<usize>() < level;
        // How far a part lies above its due share, scaled by `total` to stay exact.
        let excess = |i: usize| (parts[i] * total) as i128 - (level * weights[i]) as i128;
        let candidates = (0..parts.len()).filter(|&i| short || parts[i] > 1);
        let chosen =
            if short { candidates.min_by_key(|&i| (excess(i), i)) } else { candidates.max_by_key(|&i| excess(i)) };
        let Some(chosen) = chosen else { unreachable!("level >= jobs, so some part can shrink") };
        if short { parts[chosen] += 1 } else { parts[chosen] -= 1 }
    }
    Ok(parts)
}

fn weight(job: &Job) -> usize {
    match job.pace {
        Pace::Closed { concurrency } => concurrency,
        Pace::Rate { .. } | Pace::Recorded => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Workload;
    use super::*;

    fn jobs(weights: &[usize]) -> Vec<Job> {
        let job = |&concurrency: &usize| Job {
            pace: Pace::Closed { concurrency },
            ..Workload::from_query("select 1").jobs.remove(0)
        };
        weights.iter().map(job).collect()
    }

    #[test]
    fn a_level_is_split_in_proportion_with_at_least_one_each() {
        for (level, weights, expected) in [
            (64, &[1][..], &[64][..]),
            (16, &[3, 1], &[12, 4]),
            (10, &[1, 1, 1], &[4, 3, 3]),
            (4, &[100, 1, 1], &[2, 1, 1]),
            (3, &[5, 5, 5], &[1, 1, 1]),
            (256, &[64, 1], &[252, 4]),
        ] {
            assert_eq!(proportional(level, &jobs(weights)).unwrap(), expected, "{level} over {weights:?}");
        }
    }

    #[test]
    fn parts_always_sum_to_the_level() {
        for level in 4..200 {
            let parts = proportional(level, &jobs(&[7, 1, 30, 2])).unwrap();
            assert_eq!(parts.iter().sum::<usize>(), level);
            assert!(parts.iter().all(|&p| p > 0));
        }
    }

    #[test]
    fn a_level_below_the_number_of_jobs_is_refused() {
        let error = proportional(1, &jobs(&[1, 1])).unwrap_err().to_string();
        assert!(error.starts_with("1 connection(s) cannot be split over 2 jobs"), "{error}");
    }
}
