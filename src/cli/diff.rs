//! `wireprof diff`: two stored runs compared.

use super::folding::FoldingArguments;
use super::names::Names;
use super::shown::{Answered, Shown};
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::compare::difference::{Difference, Options, Side, compare, trees};
use crate::analyze::compare::headline::headline;
use crate::parallel;
use crate::preset::Preset;
use crate::profile::{Focus, Folding, Rename};
use crate::render::flamegraph::{Caption, write_differences};
use crate::render::{Framing, Picture, Report, Section, difference_report, headline_lines, headline_value};
use crate::run::{Parts, Store};
use anyhow::{Result, anyhow};
use clap::Args;
use regex::Regex;
use std::path::PathBuf;

/// Two runs compared: per level what changed in throughput, latency, places, demands and frames, and whether it is real
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    mut_arg("section", |section| section.help(
        "Only these sections: unlike, level, pictures (only with --svg)"
    )),
    after_help = "\
Examples:
  # which levels got faster or slower, and through what
  wireprof diff BEFORE AFTER
  # every figure and function, with intervals and verdicts
  wireprof diff BEFORE AFTER --full
  # one level; \"same\" means within 1 %
  wireprof diff BEFORE latest --level 16 --margin 1
  # flamegraphs of both, coloured where the cost per query differs
  wireprof diff BEFORE AFTER --svg pictures
  wireprof diff BEFORE AFTER --rename 'old::path=new::path'
  # runs of unlike hosts or sampling events
  wireprof diff BEFORE AFTER --anyway"
)]
pub struct Diff {
    /// Run before the change: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(help_heading = ARGUMENTS)]
    before: String,
    /// Run after it
    #[arg(help_heading = ARGUMENTS)]
    after: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Differences up to this many percent count as none
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0)]
    margin: f64,
    /// Only what runs under these functions: a focus of the preset by name, or a regular expression
    #[arg(long, value_name = "NAME|REGEX")]
    focus: Option<String>,
    /// Draw the stacks before and after into this directory, coloured where their cost a query differs
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    folding: FoldingArguments,
    /// Frames at most, each level
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// A function that has another name in the run after: OLD is a regular expression (`\x3d` for `=`), NEW may hold
    /// `$1`; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = rename)]
    rename: Vec<Rename>,
    /// Compare runs of unlike hosts or sampling events all the same
    #[arg(long)]
    anyway: bool,
    /// Preset to take metrics and focus from [default: that of the run after]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    shown: Shown,
}

/// The sections of a difference; the help names them.
pub const SECTIONS: [&str; 3] = ["unlike", "level", "pictures"];

fn lacking(section: &str) -> &'static str {
    match section {
        "pictures" => "only with --svg DIR",
        _ => "the runs have no level in common",
    }
}

fn rename(text: &str) -> Result<Rename, String> {
    let (old, new) = text.split_once('=').ok_or_else(|| format!("`{text}` is not OLD=NEW"))?;
    let old = Regex::new(old).map_err(|error| format!("`{old}` is no regular expression: {error}"))?;
    Ok(Rename { old, new: new.to_string() })
}

impl Diff {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        self.shown.check(&SECTIONS)?;
        let preset = self.preset(common)?;
        let focus = self.focus(common, preset.as_ref())?;
        let options = Options {
            level: self.level,
            preset: preset.as_ref(),
            margin: self.margin / 100.0,
            focus: focus.as_ref(),
            folding: self.tree_folding(common)?,
            renames: &self.rename,
            top: self.top,
            trees: self.svg.is_some(),
            ..Options::default()
        };
        let ((before, seen), (after, seen_after)) = sides(common, [&self.before, &self.after], &options)?;
        self.check_focus(preset.as_ref(), seen || seen_after)?;
        let difference = compare(&before, &after, &options);
        self.check_level(&difference)?;
        let refused = difference.incomparable().next().is_some() && !self.anyway;
        if refused {
            refuse(&difference);
            return Ok(Outcome::CheckFailed);
        }
        let mut report = difference_report(&difference);
        self.draw(&mut report, [&before, &after], &options)?;
        self.print(common, &difference, &report)
    }

    /// The headline, then what is decided at each level.
    fn print(&self, common: &Common, difference: &Difference, report: &Report) -> Result<Outcome> {
        let headline = headline(difference);
        let (before, after) = (&self.before, &self.after);
        let next = vec![
            (format!("wireprof diff {before} {after} --full"), "every row".into()),
            (format!("wireprof diff {before} {after} --svg DIR"), "pictures".into()),
        ];
        let framing = Framing { width: common.width, next, ..Framing::default() };
        let (lines, value) = (headline_lines(&headline, None, &framing), headline_value(&headline, &framing.next));
        let page = Answered {
            common,
            names: &self.names,
            shown: &self.shown,
            lines: &lines,
            value: &value,
            runs: &report.runs,
            lacking,
        };
        let sections = || report.sections.clone();
        page.beginning(|| report.clone(), sections, sections)
    }

    /// A pattern that matches nothing is a slip of the pen; a focus of the preset may match nothing.
    fn check_focus(&self, preset: Option<&Preset>, seen: bool) -> Result<()> {
        let Some(focus) = self.focus.as_ref().filter(|_| !seen) else { return Ok(()) };
        let foci: Vec<&str> = preset.iter().flat_map(|preset| &preset.focus).map(|focus| focus.name.as_str()).collect();
        if foci.contains(&focus.as_str()) {
            return Ok(());
        }
        let known = if foci.is_empty() { "none".into() } else { foci.join(", ") };
        let why = "matches no function of either run, and is no focus of the preset";
        Err(anyhow!(Usage(anyhow!("--focus {focus} {why} (it has {known}); `wireprof hot` lists the functions"))))
    }

    /// Draws what is asked for, and says where it is.
    fn draw(&self, report: &mut Report, [before, after]: [&Side; 2], options: &Options) -> Result<()> {
        let Some(directory) = &self.svg else { return Ok(()) };
        let caption = Caption {
            focus: options.focus.map(|focus| focus.name.clone()),
            folded: !self.folding.unfolded,
            full_names: self.names.full,
            ..Caption::default()
        };
        let levels = trees(before, after, options);
        let written = write_differences(&levels, &caption, options.margin, directory)?;
        let picture = |p: &crate::render::flamegraph::PictureFile| Picture {
            title: format!("level {}, {}", p.level, p.what),
            path: p.path.display().to_string(),
        };
        let none = "No level has stacks of one column on both sides: nothing was drawn.";
        report.sections.push(Section {
            id: "pictures",
            pictures: written.pictures.iter().map(picture).collect(),
            notes: if levels.is_empty() { vec![none.into()] } else { Vec::new() },
            ..Section::default()
        });
        Ok(())
    }

    /// The preset whose metrics are compared; a run of a preset that is gone can still be compared without.
    fn preset(&self, common: &Common) -> Result<Option<Preset>> {
        let manifest = input::find(common, &self.after)?.1;
        match &self.preset {
            Some(name) => input::preset(&manifest, Some(name)).map(Some),
            None => Ok(Preset::load(&manifest.preset).ok()),
        }
    }

    /// The focus, where one is asked for.
    fn focus(&self, common: &Common, preset: Option<&Preset>) -> Result<Option<Focus>> {
        let Some(focus) = &self.focus else { return Ok(None) };
        let needed = match preset {
            Some(preset) => preset,
            None => &input::preset(&input::find(common, &self.after)?.1, None)?,
        };
        input::focus(needed, focus).map(Some)
    }

    /// What the pictures leave out; tables are of functions' own costs, and of owners, which no runtime is.
    fn tree_folding(&self, common: &Common) -> Result<Folding> {
        if self.svg.is_none() {
            return Ok(Folding::default());
        }
        let run = Store::new(&common.runs).load_parts(&self.after, Parts::NONE).map_err(Usage)?;
        self.folding.of(&run.manifest, self.preset.as_deref())
    }

    fn check_level(&self, difference: &Difference) -> Result<()> {
        match self.level {
            Some(level) if difference.levels.is_empty() => {
                let why = anyhow!("level {level} is not in both runs: `wireprof runs` shows which levels a run has");
                Err(anyhow!(Usage(why)))
            }
            _ => Ok(()),
        }
    }
}

/// Both runs, read at the same time and window by window, each with whether it has a function of the focus.
pub(super) fn sides(
    common: &Common,
    [before, after]: [&str; 2],
    options: &Options,
) -> Result<((Side, bool), (Side, bool))> {
    let (first, second) = parallel::both(|| side(common, before, options), || side(common, after, options));
    let (first, second) = (first?, second?);
    check_counted(&first.0, before)?;
    check_counted(&second.0, after)?;
    Ok((first, second))
}

fn check_counted(side: &Side, reference: &str) -> Result<()> {
    if side.counted() {
        return Ok(());
    }
    let why = "no window of it has its queries counted, so there is no cost per query to compare";
    let remedy = "import it again with --queries or --qps, or record it with a --divisor that counts";
    Err(anyhow!(Usage(anyhow!("run {reference}: {why}; {remedy}"))))
}

fn side(common: &Common, reference: &str, options: &Options) -> Result<(Side, bool)> {
    let (directory, _) = input::find(common, reference)?;
    let (mut side, mut seen): (Option<Side>, bool) = (None, false);
    let parts = Parts { companions: false, metrics: options.preset.is_some(), ..Parts::ALL };
    let (manifest, damaged) = Store::load_each(&directory, parts, |manifest, window| {
        let matches = |focus: &Focus| match &window.profile {
            Some(profile) => profile.frames.iter().any(|frame| focus.matches(frame)),
            None => true,
        };
        seen |= options.focus.is_none_or(matches);
        side.get_or_insert_with(|| Side::new(manifest)).add(&window, options);
    })?;
    input::tell_damaged(&manifest, &damaged);
    Ok((side.unwrap_or_else(|| Side::new(&manifest)), seen))
}

/// Says why the runs are not compared.
pub(super) fn refuse(difference: &Difference) {
    for unlike in difference.incomparable() {
        output::told(format_args!("unlike {}: {} before, {} after", unlike.what, unlike.before, unlike.after));
    }
    output::told("costs and times of the two cannot be set against each other; --anyway does it all the same");
}
