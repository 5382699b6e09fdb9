//! The stacks of what carried the queries, named. Invariant: sample n of the profile is the n-th stack that was asked
//! for, and has n for its time, so that numbers can stand for stacks in whatever order samples are stored.

use super::convert::{Converter, Named, SymbolReport};
use super::symbolizer::Symbolizer;
use crate::profile::{Labels, Profile, carried_columns};
use crate::sample::RawSamples;

/// A stack of the recording, and what the carriers waited there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedStack {
    /// Index into [`RawSamples::stacks`].
    pub stack: u32,
    /// Waits.
    pub times: u64,
    /// Their ns.
    pub nanos: u64,
}

/// Names the addresses of these stacks; columns of [`carried_columns`].
pub fn carried_stacks(
    raw: &RawSamples,
    wanted: &[CarriedStack],
    symbolizer: &mut Symbolizer,
) -> (Profile, SymbolReport) {
    let mut used: Vec<u32> = wanted.iter().map(|carried| carried.stack).collect();
    used.sort_unstable();
    used.dedup();
    let mut converter = Converter::new(carried_columns());
    let stacks = converter.stacks(raw, used, symbolizer, &|_| true);
    let mut named = Named::default();
    for (number, carried) in wanted.iter().enumerate() {
        let complete = raw.stacks[carried.stack as usize].incomplete.is_none();
        let labels = Labels { state: "in hand".into(), complete: Some(complete), ..Labels::default() };
        let labels = converter.builder.labels(labels);
        let (stack, leaf) = &stacks[&carried.stack];
        let values = vec![carried.times as i64, carried.nanos as i64];
        converter.builder.sample(*stack, labels, Some(number as u64), values);
        named.add(leaf, carried.times, carried.nanos);
    }
    (converter.builder.finish(), named.finish())
}
