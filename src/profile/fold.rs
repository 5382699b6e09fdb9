//! Folding of runtime frames: frames of an async runtime and of what starts threads are taken out so that functions of
//! the program read as their logical call chain. Invariant: total weight is conserved exactly and no frame that is to
//! be folded remains.

use super::focus::{any_of, frame_matches};
use super::rebuild::{Rebuild, marker};
use super::{Frame, Profile, StackId};
use regex::Regex;
use rustc_hash::FxHasher;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

/// Name of the marker frame for stacks made of runtime frames only.
pub const RUNTIME: &str = "[runtime]";

/// Which frames are folded: none by default.
#[derive(Clone, Debug, Default)]
pub struct Folding {
    runtime: Vec<Regex>,
    kept: Vec<Regex>,
}

impl Folding {
    /// Frames that match any of these (full or short name).
    pub fn of(patterns: &[Regex]) -> Self {
        Folding { runtime: any_of(patterns.to_vec()), kept: Vec::new() }
    }

    /// The same without frames that match this: what is asked for by name stays.
    #[must_use]
    pub fn but(mut self, asked_for: impl IntoIterator<Item = Regex>) -> Self {
        self.kept.extend(asked_for);
        self
    }

    /// Whether there is nothing to fold.
    pub fn is_off(&self) -> bool {
        self.runtime.is_empty()
    }

    /// Whether a frame is folded.
    pub fn matches(&self, frame: &Frame) -> bool {
        frame_matches(frame, &self.runtime) && !frame_matches(frame, &self.kept)
    }
}

/// A profile without runtime frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The same samples.
    pub profile: Profile,
    /// What was taken out.
    pub away: Away,
}

/// What folding took out of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Away {
    /// The functions, by hashes of their names and modules.
    functions: BTreeSet<u64>,
    /// Of each column what was their own: it counts for their callers.
    pub own: Vec<i64>,
}

impl Away {
    /// How many functions these are together.
    pub fn functions<'a>(all: impl IntoIterator<Item = &'a Away>) -> usize {
        all.into_iter().flat_map(|away| &away.functions).collect::<BTreeSet<_>>().len()
    }
}

/// Takes out the frames that are to be folded; their own weight goes to the nearest caller that is kept. A stack made
/// only of such frames becomes [`RUNTIME`]; a sample without frames stays one.
pub fn fold_runtime(profile: &Profile, folding: &Folding) -> Folded {
    let runtime_frames: Vec<bool> = profile.frames.iter().map(|frame| folding.matches(frame)).collect();
    let is_folded = |stack: StackId| runtime_frames[profile.nodes[stack.index()].frame.index()];
    let mut rebuild = Rebuild::new(profile);
    let mut nodes: Vec<Option<StackId>> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let parent = node.parent.and_then(|p| nodes[p.index()]);
        nodes.push(if runtime_frames[node.frame.index()] { parent } else { Some(rebuild.push(parent, node.frame)) });
    }
    let mut own = vec![0; profile.columns.len()];
    for sample in &profile.samples {
        if sample.stack.is_some_and(is_folded) {
            own.iter_mut().zip(&sample.values).for_each(|(sum, value)| *sum += value);
        }
        let stack = sample.stack.map(|s| nodes[s.index()].unwrap_or_else(|| rebuild.stand_in(marker(RUNTIME))));
        rebuild.sample(sample, stack);
    }
    let folded = profile.frames.iter().zip(&runtime_frames).filter(|(_, is_folded)| **is_folded);
    let functions = folded.map(|(frame, _)| identity(frame)).collect();
    Folded { profile: rebuild.finish(), away: Away { functions, own } }
}

/// Names can be kilobytes long, and are only counted.
fn identity(frame: &Frame) -> u64 {
    let mut hasher = FxHasher::default();
    (&frame.name, &frame.module).hash(&mut hasher);
    hasher.finish()
}
