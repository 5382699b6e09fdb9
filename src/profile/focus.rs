//! Focus: the part of a profile under chosen functions, with what lies outside always kept.
//! Invariant: every sample of the profile is in the view, with its labels, time and values, so totals are equal
//! to the last digit; what lies outside stands under one marker frame.

use super::rebuild::{Rebuild, marker};
use super::short::short_name;
use super::{Frame, Profile, Space, StackId};
use regex::Regex;

/// Name of the marker frame that carries what lies outside the focus.
pub const OUTSIDE: &str = "[outside focus]";

/// A named set of function patterns.
#[derive(Clone, Debug)]
pub struct Focus {
    /// What the focus is called in views and files.
    pub name: String,
    /// Regular expressions on full and short names, unanchored; one that matches is enough.
    pub patterns: Vec<Regex>,
}

impl Focus {
    /// Compiles `patterns` (regular expressions, unanchored).
    ///
    /// # Errors
    /// The first pattern that is not a regular expression.
    pub fn new<P: AsRef<str>>(name: impl Into<String>, patterns: &[P]) -> Result<Self, regex::Error> {
        let patterns = patterns.iter().map(|p| Regex::new(p.as_ref())).collect::<Result<_, _>>()?;
        Ok(Focus { name: name.into(), patterns })
    }

    /// Whether a pattern matches the frame's full or short name.
    pub fn matches(&self, frame: &Frame) -> bool {
        frame_matches(frame, &self.patterns)
    }
}

/// Whether any pattern matches the frame's full or short name; markers are not code and never match.
pub fn frame_matches(frame: &Frame, patterns: &[Regex]) -> bool {
    if frame.space == Space::Marker || patterns.is_empty() {
        return false;
    }
    let short = short_name(&frame.name);
    patterns.iter().any(|p| p.is_match(&frame.name) || p.is_match(&short))
}

/// Patterns that match where one of these does: a single one, so that a name is gone through once for all of them, but
/// where they cannot stand side by side.
pub fn any_of(patterns: Vec<Regex>) -> Vec<Regex> {
    let each: Vec<String> = patterns.iter().map(|pattern| format!("(?:{})", pattern.as_str())).collect();
    match Regex::new(&each.join("|")) {
        Ok(one) if !patterns.is_empty() => vec![one],
        _ => patterns,
    }
}

/// What becomes of the frames above the outermost match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Stacks begin at the outermost matching frame.
    Cut,
    /// Stacks inside the focus stay whole.
    Kept,
}

/// A profile seen through a focus.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Samples inside, rooted at the outermost matching frame, and the others under [`OUTSIDE`].
    pub view: Profile,
    /// Sum per column of the samples inside.
    pub inside: Vec<i64>,
    /// Sum per column of the samples outside.
    pub outside: Vec<i64>,
}

/// Splits a profile: a sample is inside when any frame of its stack matches.
pub fn split(profile: &Profile, focus: &Focus, callers: Callers) -> Split {
    let matching: Vec<bool> = profile.frames.iter().map(|f| focus.matches(f)).collect();
    let inside = nodes_inside(profile, &matching);
    let mut rebuild = Rebuild::new(profile);
    let outside_stack = rebuild.stand_in(marker(OUTSIDE));
    let mut nodes: Vec<Option<StackId>> = Vec::with_capacity(profile.nodes.len());
    for (i, node) in profile.nodes.iter().enumerate() {
        let wanted = inside[i] || callers == Callers::Kept;
        let parent = node.parent.and_then(|p| nodes[p.index()]);
        nodes.push(if wanted { Some(rebuild.push(parent, node.frame)) } else { None });
    }
    let mut sums = Split {
        view: Profile::default(),
        inside: vec![0; profile.columns.len()],
        outside: vec![0; profile.columns.len()],
    };
    for sample in &profile.samples {
        let stack = sample.stack.filter(|s| inside[s.index()]);
        let sum = if stack.is_some() { &mut sums.inside } else { &mut sums.outside };
        sum.iter_mut().zip(&sample.values).for_each(|(sum, value)| *sum += value);
        rebuild.sample(sample, stack.map_or(Some(outside_stack), |s| nodes[s.index()]));
    }
    sums.view = rebuild.finish();
    sums
}

/// Per node of the prefix tree: it or a caller of it matches.
fn nodes_inside(profile: &Profile, matching: &[bool]) -> Vec<bool> {
    let mut inside: Vec<bool> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        inside.push(matching[node.frame.index()] || node.parent.is_some_and(|p| inside[p.index()]));
    }
    inside
}
