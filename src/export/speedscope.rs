//! Stacks in the JSON of speedscope (`https://www.speedscope.app/file-format-schema.json`). Invariant: the weights of
//! a level's profiles sum to the level's own, and samples stand in the order of time where they have one.

use super::stacks::Stacks;
use crate::profile::{FrameId, Profile, Sample};
use anyhow::Result;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: &'a str,
    active_profile_index: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled>,
}

#[derive(Default, Serialize)]
struct Shared<'a> {
    frames: Vec<Shown<'a>>,
}

/// A frame; speedscope takes those of one name and file for one function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled {
    r#type: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    /// Indices of the shared frames, the root first.
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

/// All levels in one file: a profile for each of them, what it weighs, and each group of threads.
///
/// # Errors
/// None that plain values can have.
pub fn speedscope(name: &str, exporter: &str, levels: &[Stacks]) -> Result<Vec<u8>> {
    let (mut shared, mut numbers) = (Shared::default(), FxHashMap::default());
    let mut profiles = Vec::new();
    for stacks in levels {
        let frames: Vec<usize> = stacks
            .profile
            .frames
            .iter()
            .map(|frame| {
                let file = if frame.file.is_empty() { &frame.module } else { &frame.file };
                let shown = Shown { name: &frame.name, file };
                *numbers.entry(shown).or_insert_with(|| {
                    shared.frames.push(shown);
                    shared.frames.len() - 1
                })
            })
            .collect();
        profiles.extend(groups(&stacks.profile).into_iter().map(|(group, samples)| {
            sampled(stacks, format!("level {}, {}: {group}", stacks.level, stacks.name), &samples, &frames)
        }));
    }
    let schema = "https://www.speedscope.app/file-format-schema.json";
    Ok(serde_json::to_vec(&File { schema, name, exporter, active_profile_index: 0, shared, profiles })?)
}

fn sampled(stacks: &Stacks, name: String, samples: &[&Sample], frames: &[usize]) -> Sampled {
    let path = |sample: &&Sample| -> Vec<usize> {
        stacks.profile.path(sample.stack).into_iter().map(|FrameId(frame)| frames[frame as usize]).collect()
    };
    let weights: Vec<u64> = samples.iter().map(|sample| stacks.weight(sample)).collect();
    Sampled {
        r#type: "sampled",
        name,
        unit: if stacks.unit() == "nanoseconds" { "nanoseconds" } else { "none" },
        start_value: 0,
        end_value: weights.iter().sum(),
        samples: samples.iter().map(path).collect(),
        weights,
    }
}

/// Samples by process and kind of thread, those with most samples first.
fn groups(profile: &Profile) -> Vec<(String, Vec<&Sample>)> {
    let names: Vec<String> = profile.labels.iter().map(|labels| group(&labels.process, &labels.thread)).collect();
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &profile.samples {
        groups.entry(&names[sample.labels.index()]).or_default().push(sample);
    }
    let mut groups: Vec<(String, Vec<&Sample>)> =
        groups.into_iter().map(|(name, samples)| (name.to_string(), samples)).collect();
    groups.sort_by_key(|(_, samples)| std::cmp::Reverse(samples.len()));
    groups
}

/// The process and the thread's name without its number: `server, worker` of `worker-12`.
fn group(process: &str, thread: &str) -> String {
    let kind = thread.trim_end_matches(|c: char| c.is_ascii_digit() || "-_.:# ".contains(c));
    let names: Vec<&str> = [process, kind].into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "threads without a name".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_differ_by_their_number_alone_are_one_group() {
        for (thread, name) in [
            ("tokio-worker-12", "server, tokio-worker"),
            ("tokio-worker-3", "server, tokio-worker"),
            ("17", "server"),
            ("main", "server, main"),
        ] {
            assert_eq!(group("server", thread), name);
        }
        assert_eq!(group("", ""), "threads without a name");
    }
}
