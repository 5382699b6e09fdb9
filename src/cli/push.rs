//! `wireprof push`: a run's profiles to a continuous profiler.

use super::export::WhatArgument;
use super::progress::Progress;
use super::{ARGUMENTS, Common, Failed, Outcome, Usage, input, output};
use crate::analyze::cost::carrier_names::Naming;
use crate::connection::Secret;
use crate::export::{WindowProfile, otlp, pyroscope, window_profiles};
use crate::http::Credentials;
use crate::push::{Bounds, Kind, Receiver, Refusal, Sender};
use crate::render::{Cell, Column, Report, Section, Table};
use crate::run::{Parts, Run};
use crate::runtime;
use crate::words::counted;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Holds the token where no file does.
const TOKEN: &str = "WIREPROF_PROFILER_TOKEN";

/// The token of a continuous profiler, as the environment has it.
pub fn token_of_environment() -> Option<Secret> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new)
}

/// A run's profiles to Pyroscope, or to any receiver of OTLP profiles
#[derive(Args)]
#[command(
    next_help_heading = "What is sent",
    after_help = "\
Each window is one profile for each kind, with the labels run, level, replicate, kind, host, service_name and, where \
the run has one, run_name. Samples are sent as they were taken, with full names. Nothing else of the run is sent, and \
nothing to any other address; a redirection is refused. A busy receiver (429, 5xx, no answer) is asked up to five times.

The token is read from WIREPROF_PROFILER_TOKEN or from --token-file, and sent as `Authorization: Bearer`. A user and a \
password in the URL are sent instead where there is no token.

Examples:
  wireprof push latest --to pyroscope=http://localhost:4040
  wireprof push RUN --to otlp=http://localhost:4318 --what off-cpu --level 64
  # the token is in $WIREPROF_PROFILER_TOKEN, or in a file
  wireprof push RUN --to pyroscope=https://pyroscope.example.com \\
      --token-file token --tenant team-a"
)]
pub struct Push {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Receiver: `pyroscope=URL` or `otlp=URL`; may be repeated
    #[arg(long, value_name = "API=URL", required = true, help_heading = "Receiver")]
    to: Vec<Receiver>,
    /// Which stacks; may be repeated [default: cpu]
    #[arg(long, value_enum)]
    what: Vec<WhatArgument>,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Value of the label service_name [default: the target's program]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A further label; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Preset to name things by [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// File whose first line is the token [default: $WIREPROF_PROFILER_TOKEN]
    #[arg(long, value_name = "FILE", help_heading = "Receiver")]
    token_file: Option<PathBuf>,
    /// Tenant of a receiver that has several (X-Scope-OrgID)
    #[arg(long, value_name = "ID", help_heading = "Receiver")]
    tenant: Option<String>,
}

/// `NAME=VALUE`, with a name that Prometheus permits.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in team=storage")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` is no label: letters, digits and _ make one, and no digit is first"));
    }
    if name.starts_with("__") || ["run", "level", "replicate", "kind", "host", "run_name"].contains(&name) {
        return Err(format!("the label `{name}` is set already: choose another name"));
    }
    Ok((name.into(), value.into()))
}

impl Push {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let credentials = Credentials { token: self.token()?, tenant: self.tenant.clone() };
        let parts = Parts { profiles: true, ..Parts::NONE };
        let mut run = input::load(common, &self.run, parts)?.run;
        input::check_levels(&run, self.level.iter())?;
        input::keep_level(&mut run, self.level)?;
        let profiles = self.profiles(&run)?;
        let runtime = runtime::on_this_thread()?;
        let mut rows = Vec::new();
        for receiver in &self.to {
            let sender = Sender::new(receiver, credentials.clone(), Bounds::default()).map_err(Usage)?;
            for (number, profile) in profiles.iter().enumerate() {
                let bytes = runtime.block_on(send(&sender, profile, &run)).map_err(|error| {
                    let done = format!("{} of {} were taken by it", number, counted(profiles.len() as u64, "profile"));
                    Failed(error.context(format!("{}: {done}; the others were not sent to it", window_name(profile))))
                })?;
                rows.push(row(&sender, profile, bytes));
            }
        }
        output::report(common, &report(&run, rows))
    }

    fn token(&self) -> Result<Option<Secret>> {
        let Some(path) = &self.token_file else {
            return Ok(token_of_environment());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the token cannot be read from {}", path.display()))
            .map_err(Usage)?;
        match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
            Some(line) => Ok(Some(Secret::new(line))),
            None => Err(anyhow!(Usage(anyhow!("{} has no token in its first line", path.display())))),
        }
    }

    /// The profiles of all kinds that were asked for.
    fn profiles(&self, run: &Run) -> Result<Vec<WindowProfile>> {
        let preset = input::preset(&run.manifest, self.preset.as_deref())?;
        let naming = Naming::of(&preset, &run.manifest);
        let mut labels: BTreeMap<String, String> = self.label.iter().cloned().collect();
        labels.entry("service_name".into()).or_insert_with(|| self.service_name(run));
        let kinds = if self.what.is_empty() { vec![WhatArgument::Cpu] } else { self.what.clone() };
        let mut all = Vec::new();
        for kind in kinds {
            all.extend(window_profiles(run, kind.what(), &naming, &labels).map_err(Usage)?);
        }
        Ok(all)
    }

    fn service_name(&self, run: &Run) -> String {
        let executable = run.manifest.target.executable.as_deref().and_then(|path| Path::new(path).file_name());
        self.service
            .clone()
            .or_else(|| executable.map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| run.manifest.preset.clone())
    }
}

/// Sends one profile; gives the bytes that it took.
async fn send(sender: &Sender, profile: &WindowProfile, run: &Run) -> Result<usize> {
    let body = match sender.kind() {
        Kind::Pyroscope => pyroscope(profile)?,
        Kind::Otlp => otlp(profile, &run.manifest.tool),
    };
    let progress = Progress::new();
    progress.working(&format!("sending {} ...", window_name(profile)));
    let mut again = |refusal: &Refusal, wait: Duration| {
        progress.note(&format!("{refusal}; asking again in {:.1} s", wait.as_secs_f64()));
    };
    let sent = tokio::select! {
        sent = sender.send(&body, &mut again) => sent.map_err(anyhow::Error::from),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    progress.done();
    sent.map(|()| body.len())
}

fn window_name(profile: &WindowProfile) -> String {
    format!("level {}, replicate {}, {}", profile.window.level, profile.window.replicate, profile.name)
}

fn row(sender: &Sender, profile: &WindowProfile, bytes: usize) -> Vec<Cell> {
    let (total, unit) = profile.total();
    let seconds = if unit == "nanoseconds" {
        Cell::Number(total as f64 / 1e9)
    } else {
        Cell::Missing(format!("its samples count {unit}, not time"))
    };
    vec![
        Cell::Text(sender.shown()),
        Cell::Count(profile.window.level as u64),
        Cell::Count(profile.window.replicate as u64),
        Cell::Text(profile.name.into()),
        Cell::Count(profile.samples() as u64),
        seconds,
        Cell::Number(bytes as f64 / 1024.0),
    ]
}

fn report(run: &Run, rows: Vec<Vec<Cell>>) -> Report {
    let columns = vec![
        Column::text("receiver", "receiver"),
        Column::number("level", "clients", ""),
        Column::number("replicate", "replicate", ""),
        Column::text("kind", "kind"),
        Column::number("samples", "samples", ""),
        Column::number("weight", "weight", "s"),
        Column::number("sent", "sent", "KiB"),
    ];
    let table = Table { id: "pushed", columns, rows, ..Table::default() };
    let section = Section { id: "pushed", tables: vec![table], ..Section::default() };
    let id = run.manifest.id.clone();
    Report { title: format!("Run {id} sent"), runs: vec![id], sections: vec![section] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name_that_receivers_take_and_that_is_free() {
        assert_eq!(label("team=a=b"), Ok(("team".into(), "a=b".into())));
        for wrong in ["team", "=x", "9a=x", "a-b=x", "run=x", "__name__=x"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }
}
