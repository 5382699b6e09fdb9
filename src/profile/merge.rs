//! Merging: samples of several profiles in one. Invariant: per column that all of them have, the merged total is
//! the sum of the totals.

use super::rebuild::Rebuild;
use super::{Builder, Column, Profile, Sample, StackId};

/// Merges profiles. Columns that not every profile has are left out: their sum would mean nothing. Times are
/// relative to each profile's own span, so they are kept only where there is a single profile.
pub fn merge(profiles: &[&Profile]) -> Profile {
    let Some(first) = profiles.first() else { return Profile::default() };
    let columns: Vec<Column> =
        first.columns.iter().filter(|c| profiles.iter().all(|p| p.columns.contains(c))).cloned().collect();
    let mut builder = Builder::new(columns.clone());
    for profile in profiles {
        builder = append(profile, &columns, profiles.len() == 1, builder);
    }
    builder.finish()
}

fn append(profile: &Profile, columns: &[Column], keep_times: bool, builder: Builder) -> Builder {
    let position = |c: &Column| profile.columns.iter().position(|p| p == c).expect("filtered to common columns");
    let positions: Vec<usize> = columns.iter().map(position).collect();
    let mut rebuild = Rebuild::into_builder(profile, builder);
    let mut nodes: Vec<StackId> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let parent = node.parent.map(|p| nodes[p.index()]);
        nodes.push(rebuild.push(parent, node.frame));
    }
    for sample in &profile.samples {
        let values = positions.iter().map(|&p| sample.values[p]).collect();
        let kept = Sample { at: sample.at.filter(|_| keep_times), values, ..sample.clone() };
        rebuild.sample(&kept, sample.stack.map(|s| nodes[s.index()]));
    }
    rebuild.builder
}
