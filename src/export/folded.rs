//! Folded stacks, `thread;frame;frame weight`, as inferno and flamegraph.pl read them. Invariant: a level's lines sum
//! to its weights; a name has no `;` and no line break of its own, which would end it.

use super::stacks::Stacks;
use crate::profile::{Frame, Named, Profile, short_name, tell_apart};
use std::collections::BTreeMap;
use std::io::Write;

/// A level's stacks, one line for each thread's name and path. Where they weigh several things, the innermost frame
/// says which: `[blocked]`, `[runnable]`.
pub fn folded(level: &[Stacks], full_names: bool) -> Vec<u8> {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for stacks in level {
        let profile = &stacks.profile;
        let names = names(profile, full_names);
        for sample in profile.samples.iter().filter(|sample| stacks.weight(sample) > 0) {
            let labels = &profile.labels[sample.labels.index()];
            let thread = if labels.thread.is_empty() { &labels.process } else { &labels.thread };
            let mut path = vec![plain(thread)];
            path.extend(profile.path(sample.stack).iter().map(|frame| names[frame.index()].clone()));
            path.extend((level.len() > 1).then(|| format!("[{}]", stacks.name)));
            *lines.entry(path.join(";")).or_default() += stacks.weight(sample);
        }
    }
    let mut text = Vec::new();
    for (path, weight) in lines {
        writeln!(text, "{path} {weight}").expect("memory can be written to");
    }
    text
}

/// What each frame is called: different functions differ.
fn names(profile: &Profile, full: bool) -> Vec<String> {
    let shown = |frame: &Frame| if full { frame.name.clone() } else { short_name(&frame.name) };
    let named: Vec<Named> = profile
        .frames
        .iter()
        .map(|frame| Named { shown: shown(frame), full: &frame.name, module: &frame.module })
        .collect();
    tell_apart(&named, false).iter().map(|name| plain(name)).collect()
}

/// Without what separates frames and lines.
fn plain(name: &str) -> String {
    let name = name.replace(';', ":").replace(['\n', '\r'], " ");
    if name.is_empty() { "[no name]".into() } else { name }
}
