//! `wireprof hot`: frames x levels.

use super::folding::{FoldingArguments, KernelArgument};
use super::names::Names;
use super::{ARGUMENTS, Common, Outcome, Usage, input};
use crate::analyze::cost::hot::{By, HotOptions, Order, hot};
use crate::analyze::cost::owners::Rules;
use crate::analyze::cost::view::Source;
use crate::analyze::judge::server_profiles::server_profiles_of;
use crate::profile::{ColumnKind, Folding};
use crate::render::hot_report;
use crate::run::{Parts, Window};
use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use regex::Regex;
use std::collections::BTreeSet;

/// Cost per query of each function at each level, and what grew
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run, by function of the program with what it calls
  wireprof hot
  # inside a focus of the preset, the functions above others
  wireprof hot latest --focus peek --by total
  # in which function the CPU is spent, the kernel's as one a call
  wireprof hot RUN --by self --kernel grouped
  # what grew most
  wireprof hot RUN --sort growth
  # who waits, by function of the program
  wireprof hot --off-cpu blocked
  # what threads are blocked in
  wireprof hot --off-cpu blocked --by total
  # what carries the queries waits in, while it has one in hand
  wireprof hot --waits
  # what was sampled beside the target
  wireprof hot RUN --process postgres
  wireprof hot RUN --callers-of 'futex_wait' --by total"
)]
pub struct Hot {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Only what runs under these functions: a focus of the preset by name, or a regular expression
    #[arg(long, value_name = "NAME|REGEX")]
    focus: Option<String>,
    /// Which samples count for a function: those of which it is the innermost function of the server's program, those
    /// in it and all that it calls, or those in itself [default: owner; with --frame or --callers-of: self]
    #[arg(long, value_enum)]
    by: Option<ByArgument>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = OrderArgument::Cost)]
    sort: OrderArgument,
    /// Only functions whose name matches
    #[arg(long, value_name = "REGEX")]
    frame: Option<Regex>,
    /// Who calls the functions that match, instead of the functions
    #[arg(long, value_name = "REGEX")]
    callers_of: Option<Regex>,
    /// Time off CPU instead of samples on CPU
    #[arg(long, value_enum)]
    off_cpu: Option<OffCpuArgument>,
    /// Time that threads and async tasks wait while they have a query in hand, instead of samples on CPU
    #[arg(long, conflicts_with = "off_cpu")]
    waits: bool,
    /// Another process than the target, sampled besides it (sweep --also)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["off_cpu", "waits"])]
    process: Option<String>,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 30)]
    top: usize,
    /// Column of the profile: `cpu`, `cycles`, `samples` ...
    #[arg(long, value_name = "KIND")]
    column: Option<String>,
    /// Functions of the kernel: as one for each system call, or each by its name [default: each; by owner: grouped]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "grouped|each")]
    kernel: Option<KernelArgument>,
    #[command(flatten)]
    folding: FoldingArguments,
    /// Preset to take focus, owners and runtime frames from [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    #[command(flatten)]
    names: Names,
}

#[derive(Clone, Copy, ValueEnum)]
enum ByArgument {
    #[value(name = "self")]
    SelfCost,
    Total,
    Owner,
}

#[derive(Clone, Copy, ValueEnum)]
enum OrderArgument {
    Cost,
    Growth,
}

#[derive(Clone, Copy, ValueEnum)]
enum OffCpuArgument {
    /// From leaving the CPU to the wake-up
    Blocked,
    /// From there, or from being preempted, to getting a CPU
    Runnable,
}

impl Hot {
    pub fn run(mut self, common: &Common) -> Result<Outcome> {
        let mut loaded = input::load(common, &self.run, Parts { metrics: false, timelines: false, ..Parts::ALL })?;
        let beside = self.process.as_deref().map_or(Vec::new(), |process| server_profiles_of(&loaded.run, process));
        loaded.run = input::seen_from(loaded.run, self.process.as_deref())?;
        for (option, pattern) in [("--frame", &self.frame), ("--callers-of", &self.callers_of)] {
            let check = |pattern| input::check_matches(&loaded.run, option, std::slice::from_ref(pattern));
            pattern.iter().try_for_each(check)?;
        }
        self.check_column(&loaded)?;
        let names = std::mem::take(&mut self.names);
        let process = self.process.take();
        let level = self.level;
        let options = self.options(&loaded)?;
        input::keep_level(&mut loaded.run, level)?;
        let mut report = hot_report(&hot(&loaded.run, &options));
        if let Some(process) = process {
            report.title = format!("{}: {process}, beside the target", report.title);
            if let Some(section) = report.sections.first_mut() {
                section.notes.extend(beside);
            }
        }
        names.report(common, report)
    }

    /// A column that no profile of the run has is a slip of the pen, not an empty answer.
    fn check_column(&self, loaded: &input::Loaded) -> Result<()> {
        let Some(wanted) = &self.column else { return Ok(()) };
        let profile = |window: &'_ Window| {
            let profile = match self.source() {
                Source::OnCpu => window.profile.as_ref(),
                Source::Blocked | Source::Runnable => window.off_cpu.as_ref()?.profile.as_ref(),
                Source::Waits | Source::InHand => window.hands.as_ref()?.stacks.as_ref(),
            };
            profile.map(|profile| profile.columns.clone())
        };
        let columns: Vec<_> = loaded.run.windows.iter().filter_map(profile).flatten().collect();
        let kinds: BTreeSet<&str> = columns.iter().map(|c| c.kind.as_str()).collect();
        if kinds.contains(wanted.as_str()) {
            return Ok(());
        }
        let known = kinds.into_iter().collect::<Vec<_>>().join(", ");
        Err(anyhow!(Usage(anyhow!(
            "no profile of run {} has a column `{wanted}`; there are: {known}",
            loaded.run.manifest.id
        ))))
    }

    fn source(&self) -> Source {
        match (self.off_cpu, self.waits) {
            (None, false) => Source::OnCpu,
            (None, true) => Source::Waits,
            (Some(OffCpuArgument::Blocked), _) => Source::Blocked,
            (Some(OffCpuArgument::Runnable), _) => Source::Runnable,
        }
    }

    fn options(self, loaded: &input::Loaded) -> Result<HotOptions> {
        let source = self.source();
        let by = match self.by {
            Some(ByArgument::SelfCost) => By::SelfCost,
            Some(ByArgument::Total) => By::Total,
            Some(ByArgument::Owner) => By::Owner,
            // Who owns a function is not asked where one is named: it may be a library's. Whoever waits is in the
            // kernel's scheduler, whatever is named.
            None if self.callers_of.is_some() || self.frame.is_some() && source == Source::OnCpu => By::SelfCost,
            None => By::Owner,
        };
        let owners = self.owners(by, loaded)?;
        let by = if owners.is_none() && by == By::Owner { By::SelfCost } else { by };
        let (manifest, preset) = (&loaded.run.manifest, self.preset.as_deref());
        // The preset is read only where it is needed, so that runs of a preset that is gone can still be looked at.
        let focus = match &self.focus {
            Some(focus) => Some(input::focus_of(&loaded.run, &input::preset(manifest, preset)?, focus)?),
            None => None,
        };
        // A function's own cost is its own, whoever it is; runtimes own nothing anyway.
        let above_others = by == By::Total || self.callers_of.is_some();
        let folding = if above_others { self.folding.of(manifest, preset)? } else { Folding::default() };
        Ok(HotOptions {
            source,
            focus,
            by,
            owners,
            kernel_grouped: self.kernel.map_or(by == By::Owner, |kernel| kernel == KernelArgument::Grouped),
            folding,
            order: match self.sort {
                OrderArgument::Cost => Order::Cost,
                OrderArgument::Growth => Order::Growth,
            },
            frame: self.frame,
            top: self.top,
            callers_of: self.callers_of,
            column: self.column.map(ColumnKind::from),
        })
    }

    /// Who owns what. Where nobody asked for owners, a preset that is gone is no error.
    fn owners(&self, by: By, loaded: &input::Loaded) -> Result<Option<Rules>> {
        if by != By::Owner {
            return Ok(None);
        }
        let preset = input::preset(&loaded.run.manifest, self.preset.as_deref());
        match (preset, self.by.is_some()) {
            (Ok(preset), _) if self.waits => Ok(Some(Rules::of_waits(&preset, &loaded.run.manifest))),
            (Ok(preset), _) => Ok(Some(Rules::of(&preset, &loaded.run.manifest))),
            (Err(why), true) => Err(why),
            (Err(_), false) => Ok(None),
        }
    }
}
