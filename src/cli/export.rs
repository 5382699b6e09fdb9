//! `wireprof export`: a stored run in the formats of other tools' viewers.

use super::explain::{TOP, next, whole};
use super::export_file::{Destination, Format};
use super::names::Names;
use super::shown::{answer_of, reference};
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::cost::carrier_names::Naming;
use crate::export::{Exported, StackFormat, What, chrome, export_stacks, firefox, rows};
use crate::render::{Picture, Report, Section, answer_value, json_value, markdown};
use crate::run::{Parts, Run};
use crate::words::counted;
use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use std::path::Path;

/// A stored run for other tools' viewers: stacks, traced queries on a time axis, or tables
#[derive(Args)]
#[command(
    next_help_heading = "What is exported",
    after_help = "\
Stacks are exported whole: nothing is folded or left out, and samples are in the order of time where it is stored. \
Their weights are ns of CPU time, or ns off the CPUs, or ns in the server's hands; of a host without a timer of the \
CPU what its event counts. Functions have their full names; in folded, which repeats them in each line, short ones \
unless --full-names asks for the others. folded and pprof hold one level a file, the others all levels. \
docs/viewers.md says what opens what.

Examples:
  # https://profiler.firefox.com opens it; so does `wireprof open`
  wireprof export RUN --format firefox
  # https://www.speedscope.app
  wireprof export RUN --format speedscope --what off-cpu
  # https://ui.perfetto.dev
  wireprof export RUN --format chrome
  wireprof export RUN --format pprof --level 64 -o cpu.pb.gz
  wireprof export RUN --format folded --level 64 -o - | inferno-flamegraph
  wireprof export RUN --format csv -o tables.csv"
)]
pub struct Export {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Format of the file
    #[arg(long, value_enum)]
    format: Format,
    /// Which stacks [default: cpu]
    #[arg(long, value_enum)]
    what: Option<WhatArgument>,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Another process than the target, sampled besides it (sweep --also)
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// Preset to name things by [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// File, directory, or `-` for standard output [default: a file named after run, level and format, here]
    #[arg(short, long, value_name = "FILE|DIR", help_heading = "Output")]
    output: Option<String>,
    #[command(flatten)]
    names: Names,
}

/// Which stacks, as they are asked for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhatArgument {
    /// Samples on a CPU
    Cpu,
    /// Time that threads were blocked or runnable
    OffCpu,
    /// Time that queries were in the server's hands, in the followed seconds
    Hands,
}

impl WhatArgument {
    pub fn what(self) -> What {
        match self {
            WhatArgument::Cpu => What::Cpu,
            WhatArgument::OffCpu => What::OffCpu,
            WhatArgument::Hands => What::Hands,
        }
    }
}

impl Export {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        self.check()?;
        let loaded = input::load(common, &self.run, self.parts())?;
        let mut run = input::seen_from(loaded.run, self.process.as_deref())?;
        input::check_levels(&run, self.level.iter())?;
        let exported = self.exported(common, &mut run, &loaded.directory)?;
        let what = match self.what {
            Some(WhatArgument::OffCpu) => "-off-cpu",
            Some(WhatArgument::Hands) => "-hands",
            Some(WhatArgument::Cpu) | None => "",
        };
        let process = self.process.as_ref().map_or(String::new(), |process| format!("-{process}"));
        let base = format!("{}{process}", run.manifest.id);
        let destination = Destination::of(self.output.as_deref(), self.format, &exported)?;
        let written = destination.write(self.format, &exported, |file| {
            let level = file.level.or(self.level).map_or(String::new(), |level| format!("-L{level}"));
            format!("{base}{level}{what}.{}", self.format.ending())
        })?;
        let Some(paths) = written else { return Ok(Outcome::Done) };
        let pictures = exported.iter().zip(paths).map(|(file, path)| {
            let level = file.level.or(self.level).map_or("all levels".into(), |level| format!("level {level}"));
            Picture { title: level, path: path.display().to_string() }
        });
        let section = Section { pictures: pictures.collect(), notes: self.notes(&run), ..Section::default() };
        let (title, runs) = (format!("Run {} exported", run.manifest.id), vec![run.manifest.id.clone()]);
        output::report(common, &Report { title, runs, sections: vec![section] })
    }

    /// Refuses what no format can hold.
    fn check(&self) -> Result<()> {
        let other = matches!(self.what, Some(WhatArgument::OffCpu | WhatArgument::Hands));
        let why = match self.format {
            Format::Firefox if other => {
                "--what: time off the CPUs and in the server's hands is stored as sums by stack, without times, and \
                 firefox shows times; --format folded, pprof or speedscope holds it"
            }
            Format::Chrome | Format::Csv | Format::Markdown | Format::Json if self.what.is_some() => {
                "--what chooses stacks, and this format has none: --format folded, pprof or speedscope has them"
            }
            format if self.process.is_some() && !format.is_of_stacks() => {
                "--process is for the formats that hold the stacks of one process: folded, pprof and speedscope"
            }
            _ if self.process.is_some() && other => {
                "--process: of other processes than the target only samples on a CPU are stored: --what cpu"
            }
            _ => return Ok(()),
        };
        Err(anyhow!(Usage(anyhow!("{why}"))))
    }

    /// What of the run the format needs.
    fn parts(&self) -> Parts {
        match self.format {
            Format::Chrome => Parts { timelines: true, ..Parts::NONE },
            Format::Firefox => Parts { metrics: false, ..Parts::ALL },
            Format::Csv | Format::Markdown | Format::Json => Parts { companions: false, ..Parts::ALL },
            _ => Parts { profiles: true, companions: self.process.is_some(), ..Parts::NONE },
        }
    }

    fn exported(&self, common: &Common, run: &mut Run, directory: &Path) -> Result<Vec<Exported>> {
        let one = |bytes| vec![Exported { level: None, bytes }];
        if !self.format.is_of_stacks() && !matches!(self.format, Format::Firefox | Format::Chrome) {
            return Ok(one(self.tables(common, run, directory)?));
        }
        input::keep_level(run, self.level)?;
        let format = match self.format {
            Format::Firefox => return Ok(one(firefox(run).map_err(Usage)?)),
            Format::Chrome => return Ok(one(chrome(run).map_err(Usage)?)),
            Format::Folded => StackFormat::Folded { full_names: self.names.full },
            Format::Pprof => StackFormat::Pprof,
            _ => StackFormat::Speedscope,
        };
        let what = self.what.unwrap_or(WhatArgument::Cpu).what();
        let preset = input::preset(&run.manifest, self.preset.as_deref())?;
        Ok(export_stacks(run, format, what, &Naming::of(&preset, &run.manifest)).map_err(Usage)?)
    }

    /// The tables of an explanation.
    fn tables(&self, common: &Common, run: &mut Run, directory: &Path) -> Result<Vec<u8>> {
        let preset = input::preset(&run.manifest, self.preset.as_deref());
        let answer = answer_of(run, &preset, self.level);
        input::keep_level(run, self.level)?;
        let report = whole(run, &preset, TOP, None, self.format != Format::Markdown);
        Ok(match self.format {
            Format::Csv => rows(&report),
            Format::Markdown => markdown(&report, 1).into_bytes(),
            _ => {
                let mut found = json_value("explain", &report);
                found["answer"] = answer_value(&answer, &next(&reference(common, run, directory)));
                format!("{found}\n").into_bytes()
            }
        })
    }

    /// What of the run is not in the file, and why.
    fn notes(&self, run: &Run) -> Vec<String> {
        if !matches!(self.format, Format::Firefox | Format::Chrome) {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if self.format == Format::Firefox && run.windows.iter().any(|window| window.off_cpu.is_some()) {
            notes.push(
                "Time off the CPUs is not in it: it is stored as sums by thread and stack, without times. --format \
                 speedscope --what off-cpu has it."
                    .into(),
            );
        }
        let samples = || run.windows.iter().flat_map(|window| &window.wire).flat_map(|wire| &wire.hops);
        let traced = samples().filter_map(|hop| hop.sample.as_ref());
        let (kept, lost) = traced.fold((0, 0), |(kept, lost), of| (kept + of.queries.len() as u64, lost + of.lost));
        notes.push(match (kept, lost) {
            (0, _) => "Traced queries are not in it: this run has none.".into(),
            (kept, 0) => format!("It has {} of the sample, none of which was lost.", counted(kept, "traced query")),
            (kept, lost) => {
                format!(
                    "It has {} of the sample; {lost} more were lost for lack of room, so that it does not tell where \
                     the clients were over time.",
                    counted(kept, "traced query")
                )
            }
        });
        notes
    }
}
