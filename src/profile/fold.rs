//! Folding of runtime frames: frames of an async runtime are taken out so that async functions read as their logical
//! call chain. Invariant: total weight is conserved exactly and no frame that matches remains.

use super::focus::frame_matches;
use super::rebuild::{Rebuild, marker};
use super::{Profile, StackId};
use regex::Regex;

/// Name of the marker frame for stacks made of runtime frames only.
pub const RUNTIME: &str = "[runtime]";

/// Takes out the frames that match any of `patterns` (full or short name); their own weight goes to the nearest
/// caller that is kept. A stack made only of such frames becomes [`RUNTIME`]; a sample without frames stays one.
pub fn fold_runtime(profile: &Profile, patterns: &[Regex]) -> Profile {
    let runtime_frames: Vec<bool> = profile.frames.iter().map(|f| frame_matches(f, patterns)).collect();
    let mut rebuild = Rebuild::new(profile);
    let mut nodes: Vec<Option<StackId>> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let parent = node.parent.and_then(|p| nodes[p.index()]);
        nodes.push(if runtime_frames[node.frame.index()] { parent } else { Some(rebuild.push(parent, node.frame)) });
    }
    for sample in &profile.samples {
        let stack = sample.stack.map(|s| nodes[s.index()].unwrap_or_else(|| rebuild.stand_in(marker(RUNTIME))));
        rebuild.sample(sample, stack);
    }
    rebuild.finish()
}
