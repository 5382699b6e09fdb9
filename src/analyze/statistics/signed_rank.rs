//! The middle of differences that scatter round it, and its interval, where some are outliers: Hodges and Lehmann's
//! estimator with the interval of Wilcoxon's signed ranks (Hollander and Wolfe 1999, 3.2 and 3.3). Invariant: the
//! interval is exact for differences whose distribution is symmetric, whatever it is; below six there is none.

/// Probability that a 95 % interval leaves out on each side.
const TAIL: f64 = 0.025;

/// The median of the means of all pairs of differences, each with itself too, and its 95 % interval; `None` for fewer
/// than six.
pub fn middle(differences: &[f64]) -> Option<(f64, (f64, f64))> {
    let out = left_out(differences.len())?;
    let mut means: Vec<f64> = Vec::new();
    for (at, one) in differences.iter().enumerate() {
        means.extend(differences[at..].iter().map(|other| (one + other) / 2.0));
    }
    means.sort_by(f64::total_cmp);
    let count = means.len();
    let median = (means[(count - 1) / 2] + means[count / 2]) / 2.0;
    Some((median, (means[out], means[count - 1 - out])))
}

/// How many of the sorted means lie below the interval: the largest number whose probability as a sum of signed ranks,
/// or of a lower one, is within the tail.
fn left_out(differences: usize) -> Option<usize> {
    // Ways to choose ranks of 1 to n with a given sum.
    let mut ways = vec![1.0];
    for rank in 1..=differences {
        let mut next = vec![0.0; ways.len() + rank];
        for (sum, count) in ways.iter().enumerate() {
            next[sum] += count;
            next[sum + rank] += count;
        }
        ways = next;
    }
    let all = 2f64.powi(differences as i32);
    let below = ways.iter().scan(0.0, |below, count| {
        *below += count / all;
        Some(*below)
    });
    below.take_while(|below| *below <= TAIL).count().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_that_an_interval_leaves_out_are_those_of_the_tables() {
        // Hollander and Wolfe, table A.4: the lower critical values at 0.025, less one for what lies below.
        for (differences, out) in [(5, None), (6, Some(0)), (8, Some(3)), (10, Some(8)), (12, Some(13)), (16, Some(29))]
        {
            assert_eq!(left_out(differences), out, "{differences}");
        }
    }

    #[test]
    fn the_middle_is_hardly_moved_by_one_that_is_far_off() {
        let (middle_of, (low, high)) = middle(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!((middle_of, low, high), (3.5, 1.0, 6.0));
        let (moved, _) = middle(&[1.0, 2.0, 3.0, 4.0, 5.0, 6e9]).unwrap();
        assert!((3.0..=4.5).contains(&moved), "{moved}");
        assert_eq!(middle(&[1.0; 5]), None);
    }
}
