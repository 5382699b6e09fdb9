//! What verbs read: a run by its name, a focus by its name or as a pattern, the plumbing of the run's preset.

use super::{Common, Usage};
use crate::preset::Preset;
use crate::profile::Focus;
use crate::run::{Manifest, Parts, Run, Store};
use anyhow::{Context, Result, anyhow};
use regex::Regex;
use std::path::PathBuf;

/// A run and where it lies.
pub struct Loaded {
    pub run: Run,
    pub directory: PathBuf,
}

/// Loads `id`, a path, or `latest`.
///
/// # Errors
/// [`Usage`] where there is no such run; otherwise what of it cannot be read.
pub fn load(common: &Common, reference: &str, parts: Parts) -> Result<Loaded> {
    let store = Store::new(&common.runs);
    let directory = store.find(reference).map_err(Usage)?;
    let run = store.load_parts(reference, parts)?;
    Ok(Loaded { run, directory })
}

/// The run as seen from a process that was sampled beside the target; from the target itself where none is named.
///
/// # Errors
/// [`Usage`] where no such process was sampled.
pub fn seen_from(run: Run, process: Option<&str>) -> Result<Run> {
    let Some(process) = process else { return Ok(run) };
    let known: Vec<&str> = run.processes_beside().into_iter().collect();
    if known.contains(&process) {
        return Ok(run.seen_from(process));
    }
    let known = if known.is_empty() { "none was (sweep --also NAME)".into() } else { known.join(", ") };
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
    let names: Vec<&str> = known.iter().map(|f| f.name.as_str()).collect();
    Focus::new(argument, &[argument]).map_err(|error| {
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        anyhow!(Usage(anyhow!(
            "--focus {argument} is neither a focus of preset {} ({known}) nor a pattern: {error}",
            preset.name
        )))
    })
}

/// The frames that folding takes out.
///
/// # Errors
/// [`Usage`] where the preset has none.
pub fn plumbing(preset: &Preset, wanted: bool) -> Result<Vec<Regex>> {
    if wanted && preset.runtime.is_empty() {
        let why =
            anyhow!("preset {} names no plumbing to fold: leave --fold-plumbing out, or use --preset", preset.name);
        return Err(anyhow!(Usage(why)));
    }
    Ok(preset.runtime.iter().filter(|_| wanted).map(|p| p.0.clone()).collect())
}
