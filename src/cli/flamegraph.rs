//! `wireprof flamegraph`: pictures of a stored run.

use super::folding::{FoldingArguments, KernelArgument};
use super::names::Names;
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::cost::carrier_names::Naming;
use crate::render::flamegraph::{Pictures, Wanted, write_pictures};
use crate::render::{Picture, Report, Section};
use crate::run::{Parts, Run};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};

/// Folder of a run that its pictures go to.
const FOLDER: &str = "flamegraphs";

/// SVG flamegraphs per level: everything, and each focus; CPU per query, waits, the time in the server's hands
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # all levels of the latest run, into its directory
  wireprof flamegraph
  wireprof flamegraph RUN --level 64 --focus peek --kernel grouped -o pictures"
)]
pub struct Flamegraph {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Only this focus: one of the preset by name, or a regular expression [default: everything, and each of the
    /// preset]
    #[arg(long, value_name = "NAME|REGEX")]
    focus: Option<String>,
    /// Another process than the target, sampled besides it (sweep --also) [default: the target, and each of these]
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// Functions of the kernel: as one for each system call, or each by its name [default: each]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "grouped|each")]
    kernel: Option<KernelArgument>,
    #[command(flatten)]
    folding: FoldingArguments,
    /// Preset to take focus and runtime frames from [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Directory for the pictures [default: flamegraphs/ in the run's directory]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    names: Names,
}

/// The processes that were sampled beside the target, everything of each: the foci are the target's.
fn companions(run: &Run, wanted: &Wanted, directory: &Path, written: &mut Pictures) -> Result<()> {
    for process in run.companions() {
        let wanted = Wanted { process: Some(process.into()), foci: Vec::new(), naming: None, ..wanted.clone() };
        let more = write_pictures(&run.clone().seen_from(process), &wanted, directory)?;
        written.pictures.extend(more.pictures);
        written.left_out.extend(more.left_out);
    }
    Ok(())
}

impl Flamegraph {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { metrics: false, timelines: false, ..Parts::ALL })?;
        let run = &input::seen_from(loaded.run, self.process.as_deref())?;
        if let Some(level) = self.level.filter(|l| !run.manifest.levels.contains(l)) {
            let why = anyhow!("run {} has no level {level}; it has {:?}", run.manifest.id, run.manifest.levels);
            return Err(anyhow!(Usage(why)));
        }
        let preset = input::preset(&run.manifest, self.preset.as_deref())?;
        let wanted = Wanted {
            level: self.level,
            everything: self.focus.is_none(),
            foci: match &self.focus {
                Some(focus) => vec![input::focus_of(run, &preset, focus)?],
                None => input::foci(&preset),
            },
            folding: preset.folding(),
            unfolded: self.folding.unfolded,
            kernel_grouped: self.kernel == Some(KernelArgument::Grouped),
            full_names: self.names.full,
            process: self.process.clone(),
            naming: Some(Naming::of(&preset, &run.manifest)),
            ..Wanted::default()
        };
        let directory = self.output.unwrap_or_else(|| loaded.directory.join(FOLDER));
        let mut written = write_pictures(run, &wanted, &directory)?;
        if self.focus.is_none() && wanted.process.is_none() {
            companions(run, &wanted, &directory, &mut written)?;
        }
        let pictures = written
            .pictures
            .iter()
            .map(|p| Picture { title: format!("level {}, {}", p.level, p.what), path: p.path.display().to_string() })
            .collect();
        let section = Section { pictures, notes: written.left_out, ..Section::default() };
        output::report(
            common,
            &Report {
                title: format!("Flamegraphs of run {}", run.manifest.id),
                runs: vec![run.manifest.id.clone()],
                sections: vec![section],
            },
        )
    }
}
