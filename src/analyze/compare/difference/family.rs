//! Error levels over many comparisons. Invariant: a cut is the probability below which a row of the family differs,
//! and at the same time the one with which its interval misses; so verdicts and intervals of a family agree.

/// Cut that keeps the probability of any false difference among `rows` below `alpha` (Bonferroni), however they depend.
pub fn familywise(alpha: f64, rows: usize) -> f64 {
    alpha / rows.max(1) as f64
}

/// Cut that keeps the expected share of false ones among the differences found below `alpha` (Benjamini and Hochberg
/// 1995, J. R. Stat. Soc. B 57:289), for rows that are independent or positively dependent. At the cut the intervals
/// of the rows found miss with the same rate (Benjamini and Yekutieli 2005, JASA 100:71).
pub fn false_discovery(alpha: f64, probabilities: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = probabilities.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len().max(1) as f64;
    let found = sorted.iter().enumerate().rposition(|(i, p)| *p <= alpha * (i as f64 + 1.0) / count);
    alpha * found.map_or(1.0, |i| i as f64 + 1.0) / count
}

/// As [`false_discovery`] for rows that depend on each other in any way, as frames and the frames that call them do
/// (Benjamini and Yekutieli 2001, Ann. Stat. 29:1165).
pub fn false_discovery_dependent(alpha: f64, probabilities: &[f64]) -> f64 {
    let harmonic: f64 = (1..=probabilities.len().max(1)).map(|i| 1.0 / i as f64).sum();
    false_discovery(alpha / harmonic, probabilities.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cuts_are_those_of_the_papers() {
        assert_eq!(familywise(0.01, 10), 0.001);
        // Benjamini and Hochberg's own example: four of fifteen at 5 %.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let cut = false_discovery(0.05, p);
        assert_eq!(p.iter().filter(|p| **p <= cut).count(), 4);
        let strict = false_discovery_dependent(0.05, &p);
        assert_eq!(p.iter().filter(|p| **p <= strict).count(), 3);
        assert_eq!(false_discovery(0.05, [0.9, 0.8]), 0.025);
    }
}
