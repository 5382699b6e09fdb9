//! `wireprof log attach`: pictures and profiles of a run beside the log.

use super::{existing, told};
use crate::analyze::cost::carrier_names::Naming;
use crate::cli::{Common, Outcome, Usage, flamegraph, input};
use crate::perflog::{Attachment, Unspliceable, attach, write};
use crate::preset::Preset;
use crate::profile::Focus;
use crate::render::flamegraph::{Wanted, write_pictures};
use crate::run::{Parts, Run};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::path::Path;

/// Copy a run's flamegraphs beside the log and link them; twice is once
#[derive(Args)]
#[command(after_help = "\
Without options: of the first and the last level the picture of all that was sampled, and of the last level those of
waits and of the time in the server's hands; of levels that are named all of these.

Examples:
  wireprof log attach latest
  wireprof log attach latest --level 64 --focus peek,oracle
  wireprof log attach latest --all         52 files and 8 MB are usual")]
pub struct Attach {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest")]
    run: String,
    /// Pictures of these levels [default: the first and the last]
    #[arg(long, value_name = "N,N,..", value_delimiter = ',')]
    level: Vec<usize>,
    /// Pictures of these foci of the preset, in place of those of all that was sampled
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    focus: Vec<String>,
    /// All pictures of all levels, and the profiles
    #[arg(long, conflicts_with_all = ["level", "focus"])]
    all: bool,
    /// Entry to attach to [default: the newest]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
}

impl Attach {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { metrics: false, ..Parts::ALL })?;
        let log = existing(path)?;
        let attachments = self.attachments(&loaded)?;
        let id = &loaded.run.manifest.id;
        let spliced = attach(path, &log, id, &attachments, self.session)
            .map_err(|error| if error.is::<Unspliceable>() { anyhow!(Usage(error)) } else { error })?;
        write(path, &spliced)?;
        let number = self.session.or(spliced.newest().map(|e| e.number)).unwrap_or_default();
        told(common, path, number, id, attachments.len(), None)
    }

    /// The run's pictures that are wanted (drawn where there are none yet), and with `--all` its profiles.
    fn attachments(&self, loaded: &input::Loaded) -> Result<Vec<Attachment>> {
        let (run, folder) = (&loaded.run, loaded.directory.join(flamegraph::FOLDER));
        let preset = input::preset(&run.manifest, None).ok();
        let foci = self.foci(run, preset.as_ref())?;
        let levels = self.levels(run)?;
        let folding = preset.as_ref().map(Preset::folding).unwrap_or_default();
        let naming = preset.map(|preset| Naming::of(&preset, &run.manifest));
        let everything = self.focus.is_empty();
        let mut attachments = Vec::new();
        for level in &levels {
            let wanted = Wanted {
                level: Some(*level),
                everything,
                foci: foci.clone(),
                naming: naming.clone(),
                folding: folding.clone(),
                ..Wanted::default()
            };
            let last = levels.last() == Some(level);
            for picture in write_pictures(run, &wanted, &folder)?.pictures {
                let costs = picture.what == "all" || foci.iter().any(|focus| focus.name == picture.what);
                if !(self.all || last || costs || !self.level.is_empty()) {
                    continue;
                }
                let name = picture.path.file_name().context("a picture without a name")?.to_string_lossy().into_owned();
                let what = format!("flamegraph, {}", picture.what);
                attachments.push(Attachment { level: picture.level, what, from: picture.path, name });
            }
        }
        for window in run.windows.iter().filter(|w| self.all && w.profile.is_some()) {
            let id = window.id();
            attachments.push(Attachment {
                level: id.level,
                what: format!("profile (pprof), replicate {}", id.replicate),
                from: loaded.directory.join(id.directory()).join("profile.pb.gz"),
                name: format!("{}-{}.pb.gz", run.manifest.id, id.directory()),
            });
        }
        Ok(attachments)
    }

    fn foci(&self, run: &Run, preset: Option<&Preset>) -> Result<Vec<Focus>> {
        let preset = match preset {
            Some(preset) => preset,
            None if self.focus.is_empty() => return Ok(Vec::new()),
            None => &input::preset(&run.manifest, None)?,
        };
        if self.all {
            return Ok(input::foci(preset));
        }
        self.focus.iter().map(|name| input::focus_of(run, preset, name)).collect()
    }

    /// Those that were asked for, else the first and the last.
    fn levels(&self, run: &Run) -> Result<Vec<usize>> {
        let known: Vec<usize> = run.levels().into_keys().collect();
        if self.all {
            return Ok(known);
        }
        if self.level.is_empty() {
            let mut ends: Vec<usize> = known.first().into_iter().chain(known.last()).copied().collect();
            ends.dedup();
            return Ok(ends);
        }
        if let Some(level) = self.level.iter().find(|level| !known.contains(level)) {
            let known: Vec<String> = known.iter().map(usize::to_string).collect();
            return Err(anyhow!(Usage(anyhow!("the run has no level {level}; it has {}", known.join(", ")))));
        }
        Ok(self.level.clone())
    }
}
