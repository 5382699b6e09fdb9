//! Raw waits to a profile. Invariant: every wait of the window is in the profile with all its time, named or not.

use super::convert::{Converter, Named, SymbolReport, labels_of};
use super::symbolizer::Symbolizer;
use crate::profile::{LabelsId, Profile, off_cpu_columns};
use crate::sample::{RawSamples, RawWait};
use std::collections::HashMap;

/// Names the addresses of the waits' stacks; columns of [`off_cpu_columns`]. The report's weights are ns off CPU, its
/// samples waits.
pub fn off_cpu_profile(raw: &RawSamples, waits: &[RawWait], symbolizer: &mut Symbolizer) -> (Profile, SymbolReport) {
    let mut used: Vec<u32> = waits.iter().map(|wait| wait.stack).collect();
    used.sort_unstable();
    used.dedup();
    let mut converter = Converter::new(off_cpu_columns());
    let stacks = converter.stacks(raw, used, symbolizer, &|_| true);
    let mut labels: HashMap<(u32, bool), LabelsId> = HashMap::new();
    let mut named = Named::default();
    for wait in waits {
        let complete = raw.stacks[wait.stack as usize].incomplete.is_none();
        let labels = *labels
            .entry((wait.thread, complete))
            .or_insert_with(|| converter.builder.labels(labels_of(raw, wait.thread, "off-cpu", complete)));
        let (stack, leaf) = &stacks[&wait.stack];
        let values = [wait.waits, wait.blocked, wait.runnable].map(|value| value as i64);
        converter.builder.sample(*stack, labels, None, values.to_vec());
        named.add(leaf, wait.waits, wait.blocked + wait.runnable);
    }
    (converter.builder.finish(), named.finish())
}
