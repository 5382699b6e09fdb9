//! Frames that a pprof says not to show: `drop_frames` and `keep_frames` of profile.proto. Invariant: they are applied
//! as `RemoveUninteresting` of google/pprof applies them (profile/prune.go), or a note says that they are not.

use crate::profile::{Frame, Profile, prune};
use regex::{Regex, RegexBuilder};

/// Bytes of a pattern, and of what it becomes: the patterns of allocators have some 2,000. Looking for one that is
/// larger could take long.
const LONGEST: usize = 1 << 14;
const LARGEST: usize = 1 << 20;

/// A file's patterns; empty: none.
#[derive(Clone, Copy)]
pub(super) struct Patterns<'a> {
    pub drop: &'a str,
    pub keep: &'a str,
}

/// The profile without what its file says to drop, and what was done.
pub(super) fn pruned(profile: Profile, patterns: Patterns<'_>) -> (Profile, Option<String>) {
    if patterns.drop.is_empty() {
        return (profile, None);
    }
    let keep = (!patterns.keep.is_empty()).then(|| whole(patterns.keep));
    let (drop, keep) = match (whole(patterns.drop), keep.transpose()) {
        (Ok(drop), Ok(keep)) => (drop, keep),
        (Err(why), _) => return (profile, Some(format!("its drop_frames is not applied: {why}"))),
        (_, Err(why)) => {
            return (profile, Some(format!("its drop_frames is not applied, for its keep_frames cannot be: {why}")));
        }
    };
    let drops = |frame: &Frame| {
        let name = plain(&frame.name);
        frame.miss.is_none() && drop.is_match(name) && !keep.as_ref().is_some_and(|keep| keep.is_match(name))
    };
    let all = profile.samples.len();
    let found = prune(&profile, drops);
    let note = format!("{} of its {all} stacks are cut where its drop_frames says", found.samples);
    (found.profile, (found.samples > 0).then_some(note))
}

/// Of whole names.
fn whole(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    RegexBuilder::new(&format!("^({pattern})$")).size_limit(LARGEST).build().map_err(|error| {
        let told = error.to_string();
        told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string()
    })
}

/// A name without its parameters, and without the dot that names of entry points have on POWER.
fn plain(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    match name.find('(') {
        Some(at) if at > 0 && !name[at..].starts_with("(anonymous namespace)") => &name[..at],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, Labels, Miss, marker, on_cpu_columns};

    fn profile(stack: &[&str]) -> Profile {
        let mut builder = Builder::new(on_cpu_columns());
        let miss = |name: &str| name.starts_with("0x").then_some(Miss::NoSymbol);
        let frames: Vec<_> =
            stack.iter().map(|name| builder.frame(Frame { miss: miss(name), ..marker(name) })).collect();
        let (stack, labels) = (builder.stack(frames), builder.labels(Labels::default()));
        builder.sample(stack, labels, None, vec![1, 10]);
        builder.finish()
    }

    fn cut(stack: &[&str], drop: &str, keep: &str) -> (String, Option<String>) {
        let (profile, note) = pruned(profile(stack), Patterns { drop, keep });
        let names = profile.path(profile.samples[0].stack);
        (names.iter().map(|id| &*profile.frames[id.index()].name).collect::<Vec<_>>().join(";"), note)
    }

    #[test]
    fn whole_names_without_parameters_are_dropped_unless_they_are_kept() {
        let stack = ["main", "my_malloc", "malloc(unsigned long)", "tcmalloc::alloc"];
        let told = Some("1 of its 1 stacks are cut where its drop_frames says".to_string());
        assert_eq!(cut(&stack, "malloc|tcmalloc.*", ""), ("main;my_malloc".into(), told.clone()));
        assert_eq!(cut(&stack, "m.*|tcmalloc.*", "m.*"), ("main;my_malloc;malloc(unsigned long)".into(), told));
        assert_eq!(cut(&stack, "alloc", ""), (stack.join(";"), None));
        assert_eq!(cut(&stack, "", "main"), (stack.join(";"), None));
        assert_eq!(cut(&["main", ".f", "g"], "f", "").0, "main");
        assert_eq!(cut(&["main", "(anonymous namespace)::f(int)", "g"], ".*namespace.*f.*", "").0, "main");
        assert_eq!(cut(&["main", "a::(anonymous namespace)::f", "g"], "a::", "").1, None);
        assert_eq!(cut(&["main", "0x4711"], ".*", "main"), ("main;0x4711".into(), None));
    }

    #[test]
    fn patterns_that_are_not_taken_are_told() {
        let (long, stack) = ("a".repeat(LONGEST + 1), ["main", "f"]);
        for (drop, keep, told) in [
            ("f(", "", "its drop_frames is not applied: unclosed group"),
            ("f", "*", "its drop_frames is not applied, for its keep_frames cannot be: repetition operator missing"),
            (&long, "", "its drop_frames is not applied: it has more than 16384 bytes"),
            ("(a{1000}){1000}", "", "its drop_frames is not applied: "),
        ] {
            let (path, note) = cut(&stack, drop, keep);
            assert_eq!(path, "main;f");
            assert!(note.as_ref().is_some_and(|note| note.starts_with(told)), "{note:?}");
        }
    }
}
