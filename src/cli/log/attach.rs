//! `wireprof log attach`: pictures and profiles of a run beside the log. Invariant: a session's pictures have
//! [`MOST_BYTES`] together, unless all are asked for; the run's directory stays as it was.

use super::{existing, told};
use crate::analyze::cost::carrier_names::Naming;
use crate::analyze::cost::view::Source;
use crate::cli::{Common, Outcome, Usage, input};
use crate::perflog::{Attachment, Unspliceable, attach, write};
use crate::preset::Preset;
use crate::profile::Focus;
use crate::render::flamegraph::{Wanted, write_pictures};
use crate::run::{Parts, Run};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::path::Path;

/// Bytes that the pictures of a session have at most, unless all are asked for.
const MOST_BYTES: u64 = 1_500_000;
/// Frames of a picture from which on it is made smaller, and with fewer of which it says too little.
const FRAMES: usize = 5_500;
const FEWEST_FRAMES: usize = 100;

/// Draw a run's flamegraphs beside the log and link them; twice is once
#[derive(Args)]
#[command(after_help = "\
Without options: of the first and the last level the picture of all that was sampled and that of blocked time. Levels \
that are named have those of runnable time and of the time in the server's hands, too. Unless all are asked for, the \
pictures have 1.5 MB together: if need be narrow frames are not drawn, and each picture says how many.

Examples:
  wireprof log attach latest
  wireprof log attach latest --level 64 --focus peek,oracle
  # of a large server 40 files and 30 MB are usual
  wireprof log attach latest --all")]
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
    /// All pictures of all levels, however large, and the profiles
    #[arg(long, conflicts_with_all = ["level", "focus"])]
    all: bool,
    /// Entry to attach to [default: the newest]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
}

impl Attach {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { metrics: false, timelines: false, ..Parts::ALL })?;
        let log = existing(path)?;
        // Not in the run's directory, where nobody asked for them.
        let folder = tempfile::tempdir().context("cannot make a directory for the pictures")?;
        let attachments = self.attachments(&loaded, folder.path())?;
        let id = &loaded.run.manifest.id;
        let spliced = attach(path, &log, id, &attachments, self.session)
            .map_err(|error| if error.is::<Unspliceable>() { anyhow!(Usage(error)) } else { error })?;
        write(path, &spliced)?;
        let number = self.session.or(spliced.newest().map(|e| e.number)).unwrap_or_default();
        told(common, path, number, id, attachments.len(), None)
    }

    /// The run's pictures that are wanted, drawn into `folder`, and with `--all` its profiles.
    fn attachments(&self, loaded: &input::Loaded, folder: &Path) -> Result<Vec<Attachment>> {
        let run = &loaded.run;
        let mut attachments = self.pictures(run, folder)?;
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

    /// Drawn with as many frames as there is room for.
    fn pictures(&self, run: &Run, folder: &Path) -> Result<Vec<Attachment>> {
        let (levels, mut wanted) = (self.levels(run)?, self.wanted(run)?);
        loop {
            let pictures = drawn(run, &levels, &wanted, folder)?;
            let sizes = pictures.iter().map(|picture| Ok(std::fs::metadata(&picture.from)?.len()));
            let bytes: u64 = sizes.sum::<Result<u64>>().context("cannot read the pictures that were drawn")?;
            if self.all || bytes <= MOST_BYTES {
                return Ok(pictures);
            }
            let frames = wanted.most_frames.unwrap_or(FRAMES);
            if frames <= FEWEST_FRAMES {
                let many = pictures.len();
                return Err(anyhow!(Usage(anyhow!(
                    "{many} pictures take more than 1.5 MB even with {FEWEST_FRAMES} frames each; name fewer levels \
                     or foci, or attach --all"
                ))));
            }
            // Somewhat fewer than in proportion: heads and scripts do not shrink.
            let fewer = 0.9 * frames as f64 * MOST_BYTES as f64 / bytes as f64;
            wanted.most_frames = Some((fewer as usize).max(FEWEST_FRAMES));
        }
    }

    fn wanted(&self, run: &Run) -> Result<Wanted> {
        let preset = input::preset(&run.manifest, None).ok();
        let few = !self.all && self.level.is_empty();
        Ok(Wanted {
            everything: self.focus.is_empty(),
            foci: self.foci(run, preset.as_ref())?,
            folding: preset.as_ref().map(Preset::folding).unwrap_or_default(),
            naming: preset.map(|preset| Naming::of(&preset, &run.manifest)),
            sources: few.then(|| vec![Source::OnCpu, Source::Blocked]),
            ..Wanted::default()
        })
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

fn drawn(run: &Run, levels: &[usize], wanted: &Wanted, folder: &Path) -> Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for level in levels {
        let wanted = Wanted { level: Some(*level), ..wanted.clone() };
        for picture in write_pictures(run, &wanted, folder)?.pictures {
            let name = picture.path.file_name().context("a picture without a name")?.to_string_lossy().into_owned();
            let what = format!("flamegraph, {}", picture.what);
            attachments.push(Attachment { level: picture.level, what, from: picture.path, name });
        }
    }
    Ok(attachments)
}
