//! `wireprof explain`: where the queries are, what one costs, what grew and why.

use super::conduct::level;
use super::names::Names;
use super::overview::overview;
use super::shown::{Answered, OF_RUN, Shown, answer_of, not_measured, reference};
use super::{ARGUMENTS, Common, Outcome, input};
use crate::analyze::cost::demands::{bounds, demands};
use crate::analyze::cost::hot::{HotOptions, Order, hot};
use crate::analyze::judge::summary::summary;
use crate::analyze::time::WaitKinds;
use crate::analyze::time::correlation::{slow_slices, together};
use crate::analyze::time::growth::growth;
use crate::analyze::time::hands::{hands, not_followed};
use crate::analyze::time::nodes::{LevelNodes, misplaced, nodes};
use crate::analyze::time::off_cpu::{LevelWaits, blocked_stacks};
use crate::analyze::time::places::{load_places, places};
use crate::analyze::time::populations::{Population, populations};
use crate::analyze::time::scraped::scraped;
use crate::analyze::time::tails::tails;
use crate::parallel;
use crate::preset::Preset;
use crate::render::flamegraph::write_picture;
use crate::render::{
    Framing, Picture, Report, Section, WaitsRow, answer_lines, answer_value, checks_report, correlation_section,
    demands_section, frames_table, growth_section, hands_section, level_tables, nodes_section, places_section,
    populations_sentences, populations_svg, scraped_table, tails_section, tree_section, waits_section,
};
use crate::run::{Parts, Run};
use anyhow::{Context, Result};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why the server is slow: the answer first, then where the latency goes, what a query costs and what grew
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run
  wireprof explain
  wireprof explain RUN --section costs,waits
  # all sections, levels and rows
  wireprof explain RUN --full
  # the same for programs
  wireprof explain RUN --json
  # where the clients are at each level, as a picture
  wireprof explain RUN --svg clients.svg"
)]
pub struct Explain {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N", conflicts_with = "levels")]
    level: Option<usize>,
    /// Levels that the tables show [default: the first and the last]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = level)]
    levels: Vec<usize>,
    /// Preset that says how the server's metrics divide its time [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Draw where the clients are at each level
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Functions whose cost grew, at most
    #[arg(long, value_name = "N", default_value_t = TOP)]
    top: usize,
    #[command(flatten)]
    shown: Shown,
}

/// Functions whose cost grew, where nobody says how many.
pub const TOP: usize = 8;

/// The sections that follow the answer as far as a page has room, the most telling ones first.
const TELLING: [&str; 9] = ["tree", "hands", "costs", "slowest", "waits", "functions", "places", "together", "growth"];

impl Explain {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        self.shown.check(&OF_RUN)?;
        let mut loaded = input::load(common, &self.run, Parts { companions: false, ..Parts::ALL })?;
        let run = &mut loaded.run;
        let preset = input::preset(&run.manifest, self.preset.as_deref());
        input::check_levels(run, self.level.iter().chain(&self.levels))?;
        let answer = answer_of(run, &preset, self.level);
        let reference = reference(common, run, &loaded.directory);
        let picture = self.svg.as_ref().map(|path| drawn(run, preset.as_ref().ok(), path)).transpose()?;
        match (self.level, self.levels.as_slice()) {
            (None, []) if self.shown.in_short(common) => input::keep_ends(run),
            (None, []) => {}
            (level, levels) => input::keep_levels(run, &level.iter().chain(levels).copied().collect::<Vec<_>>()),
        }
        let all_levels = self.shown.full || !self.levels.is_empty();
        let framing = Framing { width: common.width, all_levels, next: next(&reference), ..Framing::default() };
        let (names, run) = (Names::default(), &*run);
        let (lines, value) = (answer_lines(&answer, &framing), answer_value(&answer, &framing.next));
        let page = Answered {
            common,
            names: &names,
            shown: &self.shown,
            lines: &lines,
            value: &value,
            runs: std::slice::from_ref(&answer.run),
            lacking: not_measured,
        };
        page.beginning(
            || whole(run, &preset, self.top, picture.clone(), common.json),
            || of_run(run, &preset, &self.shown.section, &loaded.directory.display().to_string()),
            || {
                let mut sections = pictured(run, &preset, self.top, picture.clone());
                let hops = places(run);
                let trees = nodes(run, &hops, preset.as_ref().ok());
                let short = |section: &mut Section| {
                    *section = Section { pictures: picture.iter().cloned().collect(), ..tree_section(&trees) };
                };
                sections.iter_mut().filter(|section| section.id == "tree").for_each(short);
                let place = |section: &Section| TELLING.iter().position(|id| *id == section.id);
                sections.retain(|section| place(section).is_some());
                sections.sort_by_key(place);
                sections
            },
        )
    }
}

/// The commands that lead on from an explanation.
pub fn next(reference: &str) -> Vec<(String, String)> {
    vec![
        (format!("wireprof diagnose {reference}"), "the evidence".into()),
        (format!("wireprof explain {reference} --full"), "everything".into()),
    ]
}

/// A whole explanation; `all`: with the checks that passed, too.
pub fn whole(run: &Run, preset: &Result<Preset>, top: usize, picture: Option<Picture>, all: bool) -> Report {
    Report {
        title: format!("Run {} explained", run.manifest.id),
        runs: vec![run.manifest.id.clone()],
        sections: [pictured(run, preset, top, picture), checks_report(run, all).sections].concat(),
    }
}

/// All sections, with the picture of where the clients are.
fn pictured(run: &Run, preset: &Result<Preset>, top: usize, picture: Option<Picture>) -> Vec<Section> {
    let mut sections = explained(run, preset, top);
    let tree = sections.iter_mut().find(|section| section.id == "tree");
    tree.into_iter().for_each(|tree| tree.pictures.extend(picture.clone()));
    sections
}

/// Sections of a run by their names, from its overview and from its explanation.
pub fn of_run(run: &Run, preset: &Result<Preset>, wanted: &[String], reference: &str) -> Vec<Section> {
    let mut sections = overview(run, preset.as_ref().ok(), reference, false).sections;
    let lacks = |name: &String| sections.iter().all(|section| section.id != name);
    if wanted.iter().any(lacks) {
        let known: Vec<&str> = sections.iter().map(|section| section.id).collect();
        let more = explained(run, preset, HotOptions::default().top);
        sections.extend(more.into_iter().filter(|section| !known.contains(&section.id)));
    }
    sections
}

/// All sections of an explanation.
fn explained(run: &Run, preset: &Result<Preset>, top: usize) -> Vec<Section> {
    let (hops, demands) = (places(run), demands(run));
    let tables = level_tables(&summary(run)).into_iter().chain(scraped_table(&scraped(run)));
    let levels = Section { id: "levels", title: "Levels".into(), tables: tables.collect(), ..Section::default() };
    let unfollowed = Section {
        id: "places",
        title: "Where a query is".into(),
        notes: vec!["Not measured: the sockets were not followed in this run.".into()],
        ..Section::default()
    };
    let followed = places_section(&hops).unwrap_or(unfollowed);
    let followed_by = preset.as_ref().ok().cloned().map_or_else(|| Preset::built_in("generic").ok(), Some);
    let trees = nodes(run, &hops, preset.as_ref().ok());
    let mut within = within(&trees, preset);
    within.notes.extend(populations_sentences(&populations(&hops, &trees)));
    let mut sections = vec![levels, followed, within];
    sections.extend(load_places(&hops).map(|hop| tails_section(hop, &tails(run))));
    if let Some(preset) = &followed_by {
        let divided = hands(run, preset);
        sections.push(hands_section(&divided, &not_followed(run, &divided)));
    }
    sections.push(demands_section(&demands, &bounds(run, &demands)));
    sections.push(waits(run, preset.as_ref().ok(), top));
    sections.extend(growth_section(growth(run, &hops).as_ref()));
    if run.windows.iter().any(|window| window.profile.is_some()) {
        let options = HotOptions { order: Order::Growth, top, ..HotOptions::default() };
        let tables = vec![frames_table(&hot(run, &options))];
        let title = "Functions whose cost per query grew".into();
        sections.push(Section { id: "functions", title, tables, ..Section::default() });
    }
    sections.push(correlation_section(&slow_slices(run), &together(run)));
    sections
}

/// What threads wait for: of everything and of each focus of the preset.
fn waits(run: &Run, preset: Option<&Preset>, top: usize) -> Section {
    let foci = preset.map(input::foci).unwrap_or_default();
    // Where the run's preset is gone, what holds for any server tells the kinds.
    let generic = Preset::built_in("generic").ok();
    let kinds = preset.or(generic.as_ref()).map(WaitKinds::of).unwrap_or_default();
    let everything = [("everything".to_string(), Vec::new())];
    let under = everything.into_iter().chain(foci.into_iter().map(|focus| (focus.name, focus.patterns)));
    let under: Vec<_> = under.collect();
    let levels: Vec<usize> = run.levels().into_keys().collect();
    let rows = parallel::each(&levels, |level| -> Vec<WaitsRow> {
        let of_level = LevelWaits::of(run, *level, &kinds);
        let row =
            |(name, within): &(String, Vec<_>)| Some((*level, name.clone(), of_level.as_ref()?.under(within, &[])));
        under.iter().filter_map(row).collect()
    });
    let rows: Vec<WaitsRow> = rows.into_iter().flatten().collect();
    let Some(highest) = rows.last().map(|(level, ..)| *level) else {
        let notes = vec!["Not measured: threads were not followed off CPU in this run.".into()];
        return Section { id: "waits", title: "What threads wait for".into(), notes, ..Section::default() };
    };
    let windows: Vec<_> = run.windows.iter().filter_map(|window| window.off_cpu.as_ref()).collect();
    waits_section(&rows, &blocked_stacks(run, highest, &kinds, &[], top), highest, &windows)
}

/// The tree, and what of the preset could not be used for it.
fn within(levels: &BTreeMap<usize, LevelNodes>, preset: &Result<Preset>) -> Section {
    let mut section = nodes_section(levels);
    match preset {
        Ok(preset) => section.notes.extend(misplaced(levels, preset).into_iter().map(|nested| {
            let (name, inside) = (&nested.name, &nested.inside);
            format!(
                "Node {name} of preset {} is left out: there is neither a place nor a node `{inside}` for it to \
                     be inside.",
                preset.name
            )
        })),
        Err(why) => section.notes.push(format!("Not divided by the server's metrics: {why:#}.")),
    }
    section
}

/// The picture of all levels of a run.
fn drawn(run: &Run, preset: Option<&Preset>, path: &Path) -> Result<Picture> {
    let hops = places(run);
    draw(run, &populations(&hops, &nodes(run, &hops, preset)), path)
}

/// Draws where the clients are.
///
/// # Errors
/// A run whose sockets were not followed; a file that cannot be written.
pub(super) fn draw(run: &Run, populations: &[Population], path: &Path) -> Result<Picture> {
    let svg = populations_svg(&run.manifest.id, populations)
        .context("there is nothing to draw: the sockets were not followed in this run")?;
    write_picture(path, &svg)?;
    Ok(Picture { title: "where the clients are".into(), path: path.display().to_string() })
}
