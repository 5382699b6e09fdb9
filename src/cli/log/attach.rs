//! `wireprof log attach`: pictures and profiles of a run beside the log.

use super::{existing, told};
use crate::analyze::cost::carrier_names::Naming;
use crate::cli::{Common, Outcome, Usage, flamegraph, input};
use crate::perflog::{Attachment, Unspliceable, attach, write};
use crate::preset::Preset;
use crate::render::flamegraph::{Wanted, write_pictures};
use crate::run::Parts;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::path::Path;

/// Copy a run's flamegraphs and profiles beside the log and link them; twice is once
#[derive(Args)]
pub struct Attach {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest")]
    run: String,
    /// Entry to attach to [default: the newest]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
}

impl Attach {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { metrics: false, ..Parts::ALL })?;
        let log = existing(path)?;
        let attachments = attachments(&loaded)?;
        let id = &loaded.run.manifest.id;
        let spliced = attach(path, &log, id, &attachments, self.session)
            .map_err(|error| if error.is::<Unspliceable>() { anyhow!(Usage(error)) } else { error })?;
        write(path, &spliced)?;
        let number = self.session.or(spliced.newest().map(|e| e.number)).unwrap_or_default();
        told(common, path, number, id, attachments.len(), None)
    }
}

/// The run's pictures (drawn where there are none yet) and its profiles.
fn attachments(loaded: &input::Loaded) -> Result<Vec<Attachment>> {
    let (run, folder) = (&loaded.run, loaded.directory.join(flamegraph::FOLDER));
    let preset = input::preset(&run.manifest, None).ok();
    let foci = preset.as_ref().map(input::foci).unwrap_or_default();
    let folding = preset.as_ref().map(Preset::folding).unwrap_or_default();
    let naming = preset.map(|preset| Naming::of(&preset, &run.manifest));
    let wanted = Wanted { everything: true, foci, naming, folding, ..Wanted::default() };
    let drawn = write_pictures(run, &wanted, &folder)?;
    let mut attachments = Vec::new();
    for picture in drawn.pictures {
        let name = picture.path.file_name().context("a picture without a name")?.to_string_lossy().into_owned();
        let what = format!("flamegraph, {}", picture.what);
        attachments.push(Attachment { level: picture.level, what, from: picture.path, name });
    }
    for window in run.windows.iter().filter(|w| w.profile.is_some()) {
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
