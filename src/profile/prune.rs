//! Stacks cut at frames that nobody wants to see, as `Prune` of google/pprof does (profile/prune.go). Invariant: weight
//! is conserved exactly, and no stack that has frames loses all of them.

use super::rebuild::Rebuild;
use super::{Frame, Profile, StackId};

/// A profile without what was dropped.
pub struct Pruned {
    /// All samples, some with a shorter stack.
    pub profile: Profile,
    /// How many samples have one.
    pub samples: usize,
}

/// What becomes of a function and those inlined into it. To pprof they are one location, and so they are here.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// None of them is dropped.
    Whole,
    /// The function itself would be dropped, and no function outside it is wanted: it stays.
    Spared,
    /// One that is inlined is dropped, with those inlined into it; what they call stays, as in `Spared`.
    Trimmed,
    /// One is dropped with all that it calls.
    Cut,
}

/// A node as far as it is kept.
#[derive(Clone, Copy)]
struct Kept {
    stack: Option<StackId>,
    /// A function outside, with those inlined into it, is wanted.
    wanted: bool,
    fate: Fate,
    shorter: bool,
}

/// Drops the frames that `drops` names with all that they call, but none outside of which every frame would be dropped
/// too.
pub fn prune(profile: &Profile, drops: impl Fn(&Frame) -> bool) -> Pruned {
    let drops: Vec<bool> = profile.frames.iter().map(drops).collect();
    let mut rebuild = Rebuild::new(profile);
    let mut nodes: Vec<Kept> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let above = node.parent.map(|parent| nodes[parent.index()]);
        let inlined = profile.frames[node.frame.index()].inlined;
        let mut kept = called(above, inlined, drops[node.frame.index()]);
        if matches!(kept.fate, Fate::Whole | Fate::Spared) {
            kept.stack = Some(rebuild.push(kept.stack, node.frame));
        }
        nodes.push(kept);
    }
    let mut samples = 0;
    for sample in &profile.samples {
        let kept = sample.stack.map(|stack| nodes[stack.index()]);
        samples += usize::from(kept.is_some_and(|kept| kept.shorter));
        rebuild.sample(sample, kept.and_then(|kept| kept.stack));
    }
    Pruned { profile: rebuild.finish(), samples }
}

/// What becomes of a frame by what became of its caller; its stack is still the caller's.
fn called(above: Option<Kept>, inlined: bool, dropped: bool) -> Kept {
    let Some(above) = above else {
        let fate = if dropped { Fate::Spared } else { Fate::Whole };
        return Kept { stack: None, wanted: false, fate, shorter: false };
    };
    if above.fate == Fate::Cut {
        return above;
    }
    if inlined {
        return match above.fate {
            Fate::Whole if dropped => {
                let fate = if above.wanted { Fate::Cut } else { Fate::Trimmed };
                Kept { fate, shorter: true, ..above }
            }
            _ => above,
        };
    }
    let wanted = above.wanted || above.fate == Fate::Whole;
    let fate = match dropped {
        true if wanted => Fate::Cut,
        true => Fate::Spared,
        false => Fate::Whole,
    };
    Kept { wanted, fate, shorter: above.shorter || fate == Fate::Cut, ..above }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, Labels, marker, on_cpu_columns};

    /// Root first; `+` stands before an inlined function, and names with a `!` are dropped.
    fn pruned(stacks: &[&str]) -> (Vec<String>, usize) {
        let mut builder = Builder::new(on_cpu_columns());
        let labels = builder.labels(Labels::default());
        for stack in stacks {
            let frames: Vec<_> = stack
                .split_whitespace()
                .map(|name| {
                    let inlined = name.starts_with('+');
                    builder.frame(Frame { inlined, ..marker(name.trim_start_matches('+')) })
                })
                .collect();
            let stack = builder.stack(frames);
            builder.sample(stack, labels, None, vec![1, 10]);
        }
        let source = builder.finish();
        let Pruned { profile, samples } = prune(&source, |frame| frame.name.ends_with('!'));
        profile.check().unwrap();
        assert_eq!(profile.total(1), source.total(1));
        let name = |frame: super::super::FrameId| profile.frames[frame.index()].name.clone();
        let path = |stack| profile.path(stack).into_iter().map(name).collect::<Vec<_>>().join(" ");
        (profile.samples.iter().map(|sample| path(sample.stack)).collect(), samples)
    }

    /// What prune.go makes of the same stacks, by hand.
    #[test]
    fn what_is_dropped_takes_along_all_that_it_calls() {
        let (paths, samples) = pruned(&[
            "main work alloc! grow",
            "main work",
            "main alloc! work alloc! grow",
            "main +inner +alloc! +deep grow",
            "main work +alloc! grow",
            "work +alloc!",
            "",
        ]);
        assert_eq!(
            paths,
            ["main work", "main work", "main", "main +inner grow", "main work", "work", ""]
                .map(|path| { path.replace('+', "") })
        );
        assert_eq!(samples, 5);
    }

    #[test]
    fn what_no_wanted_function_called_stays() {
        let (paths, samples) = pruned(&["alloc!", "alloc! grow", "alloc! +deep start! work alloc! grow"]);
        assert_eq!(paths, ["alloc!", "alloc! grow", "alloc! deep start! work"]);
        assert_eq!(samples, 1);
    }
}
