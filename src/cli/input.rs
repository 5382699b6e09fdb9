//! What verbs read: a run by its name, a focus by its name or as a pattern.

use super::{Common, Usage, output};
use crate::preset::Preset;
use crate::profile::short_name;
use crate::profile::{Focus, Profile, frame_matches};
use crate::run::{Damaged, Manifest, Parts, Run, Store};
use anyhow::{Context, Result, anyhow};
use regex::Regex;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A run and where it lies.
pub struct Loaded {
    pub run: Run,
    pub directory: PathBuf,
}

/// Loads a run that has windows, by whatever it is called.
///
/// # Errors
/// [`Usage`] where there is no such run, or it has no window; otherwise what of it cannot be read.
pub fn load(common: &Common, reference: &str, parts: Parts) -> Result<Loaded> {
    let loaded = load_any(common, reference, parts)?;
    let manifest = &loaded.run.manifest;
    if loaded.run.windows.is_empty() {
        let why = anyhow!(
            "run {} has no window, so there is nothing to show of it ({}); `wireprof runs` lists the runs",
            manifest.id,
            manifest.ended
        );
        return Err(anyhow!(Usage(why)));
    }
    if reference == "latest"
        && let Some(newer) = Store::new(&common.runs).list()?.pop().filter(|newer| newer.id != manifest.id)
    {
        output::told(format_args!(
            "latest is {}: the newer run {} has no window ({})",
            manifest.id, newer.id, newer.ended
        ));
    }
    Ok(loaded)
}

/// As [`load`], and runs that were cut short before their first window.
///
/// # Errors
/// [`Usage`] where there is no such run; otherwise what of it cannot be read.
pub fn load_any(common: &Common, reference: &str, parts: Parts) -> Result<Loaded> {
    let resolved = Store::new(&common.runs).resolve(reference).map_err(Usage)?;
    resolved.note.iter().for_each(output::told);
    let mut run = Store::load_readable(&resolved.directory, parts)?;
    tell_damaged(&run.manifest, &run.damaged);
    run.manifest.notes.extend(run.damaged.iter().map(|damaged| format!("left out: {}", damaged.why)));
    Ok(Loaded { run, directory: resolved.directory })
}

/// Where a run lies, and its manifest.
///
/// # Errors
/// [`Usage`] where there is no such run; a manifest that cannot be read.
pub fn find(common: &Common, reference: &str) -> Result<(PathBuf, Manifest)> {
    let store = Store::new(&common.runs);
    let directory = store.find(reference).map_err(Usage)?;
    let manifest = Store::manifest_at(&directory)?;
    Ok((directory, manifest))
}

/// Says loudly which windows no figure has.
pub fn tell_damaged(manifest: &Manifest, damaged: &[Damaged]) {
    for window in damaged {
        output::told(format_args!("run {} is read without window {}: {}", manifest.id, window.window, window.why));
    }
}

/// Leaves one level of the run, where one is asked for.
///
/// # Errors
/// [`Usage`] where it has no window at that level.
pub fn keep_level(run: &mut Run, level: Option<usize>) -> Result<()> {
    let Some(level) = level else { return Ok(()) };
    check_levels(run, [level].iter())?;
    keep_levels(run, &[level]);
    Ok(())
}

/// Refuses a level that the run has not.
///
/// # Errors
/// [`Usage`], with the levels that it has.
pub fn check_levels<'a>(run: &Run, wanted: impl Iterator<Item = &'a usize>) -> Result<()> {
    let known = run.levels();
    let mut unknown = wanted.filter(|level| !known.contains_key(level));
    let Some(level) = unknown.next() else { return Ok(()) };
    let known: Vec<String> = known.keys().map(ToString::to_string).collect();
    Err(anyhow!(Usage(anyhow!("run {} has no level {level}; it has {}", run.manifest.id, known.join(", ")))))
}

/// Leaves these levels of the run.
pub fn keep_levels(run: &mut Run, wanted: &[usize]) {
    run.windows.retain(|window| wanted.contains(&window.id().level));
}

/// Leaves the first and the last level of the run.
pub fn keep_ends(run: &mut Run) {
    let levels: Vec<usize> = run.levels().into_keys().collect();
    keep_levels(run, &levels.first().into_iter().chain(levels.last()).copied().collect::<Vec<_>>());
}

/// A pattern that matches no function of the run is a slip of the pen, not an empty answer.
///
/// # Errors
/// [`Usage`], with functions that are alike.
pub fn check_matches(run: &Run, option: &str, patterns: &[Regex]) -> Result<()> {
    let mut profiles: Vec<&Profile> = run.windows.iter().filter_map(|window| window.profile.as_ref()).collect();
    profiles.extend(run.windows.iter().filter_map(|window| window.off_cpu.as_ref()?.profile.as_ref()));
    profiles.extend(run.windows.iter().filter_map(|window| window.hands.as_ref()?.stacks.as_ref()));
    let frames = || profiles.iter().flat_map(|profile| &profile.frames);
    if profiles.is_empty() || frames().any(|frame| frame_matches(frame, patterns)) {
        return Ok(());
    }
    let written = patterns.iter().map(Regex::as_str).collect::<Vec<_>>().join("|");
    let word = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
    let start: String = word(&written).chars().take(4).collect();
    let alike = frames().map(|frame| short_name(&frame.name)).filter(|name| word(name).contains(&start));
    let alike: BTreeSet<String> = alike.take(6).collect();
    let known = match alike.len() {
        0 => "`wireprof hot` lists those that there are".to_string(),
        _ => format!("there are {}", alike.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Err(anyhow!(Usage(anyhow!("{option} {written} matches no function of run {}; {known}", run.manifest.id))))
}

/// The run as seen from a companion; from the target itself where none is named.
///
/// # Errors
/// [`Usage`] where no such process was sampled.
pub fn seen_from(run: Run, process: Option<&str>) -> Result<Run> {
    let Some(process) = process else { return Ok(run) };
    let known: Vec<&str> = run.companions().into_iter().collect();
    if known.contains(&process) {
        return Ok(run.seen_from(process));
    }
    let known = match known.as_slice() {
        [] => "none was (sweep --also NAME)".to_string(),
        known => format!("sampled were: {}", known.join(", ")),
    };
    Err(anyhow!(Usage(anyhow!(
        "--process {process} was not sampled beside the target of run {}; {known}",
        run.manifest.id
    ))))
}

/// The preset of the run, or the one named instead.
///
/// # Errors
/// A preset that cannot be found or read.
pub fn preset(manifest: &Manifest, named: Option<&str>) -> Result<Preset> {
    let name = named.unwrap_or(&manifest.preset);
    Preset::load(name)
        .with_context(|| format!("the preset `{name}` is needed for its patterns: name another one with --preset"))
        .map_err(|e| anyhow!(Usage(e)))
}

/// All foci of a preset.
pub fn foci(preset: &Preset) -> Vec<Focus> {
    let patterns = |f: &crate::preset::FocusPatterns| f.patterns.iter().map(|p| p.0.clone()).collect();
    preset.focus.iter().map(|f| Focus { name: f.name.clone(), patterns: patterns(f) }).collect()
}

/// The preset's focus of this name, else the argument as a pattern.
///
/// # Errors
/// [`Usage`] for what is neither.
pub fn focus(preset: &Preset, argument: &str) -> Result<Focus> {
    let known = foci(preset);
    if let Some(focus) = known.iter().find(|f| f.name == argument) {
        return Ok(focus.clone());
    }
    Focus::new(argument, &[argument]).map_err(|error| neither(preset, argument, &error.to_string()))
}

/// As [`focus`], of functions that the run has.
///
/// # Errors
/// [`Usage`] for what is neither, and for a pattern that matches nothing; one of the preset's may match nothing.
pub fn focus_of(run: &Run, preset: &Preset, argument: &str) -> Result<Focus> {
    let focus = focus(preset, argument)?;
    if !preset.focus.iter().any(|known| known.name == argument) {
        check_matches(run, "--focus", &focus.patterns)
            .map_err(|error| neither(preset, argument, &error.to_string()))?;
    }
    Ok(focus)
}

fn neither(preset: &Preset, argument: &str, why: &str) -> anyhow::Error {
    let names: Vec<&str> = preset.focus.iter().map(|focus| focus.name.as_str()).collect();
    let known = if names.is_empty() { "none".into() } else { names.join(", ") };
    anyhow!(Usage(anyhow!(
        "--focus {argument} is neither a focus of preset {} ({known}) nor a pattern: {why}",
        preset.name
    )))
}
