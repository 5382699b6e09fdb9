//! `wireprof explain`: where the queries are, what one costs, what grew and why.

use super::{ARGUMENTS, Common, Outcome, input, output};
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
    Picture, Report, Section, WaitsRow, correlation_section, demands_section, frames_table, growth_section,
    hands_section, level_tables, nodes_section, places_section, populations_sentences, populations_svg, scraped_table,
    tails_section, waits_section,
};
use crate::run::{Parts, Run};
use anyhow::{Context, Result};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Both views per level: where the clients' queries are, what a query costs, what grew and why
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run
  wireprof explain
  # for programs
  wireprof explain RUN --json
  # where the clients are at each level, as a picture
  wireprof explain RUN --svg clients.svg"
)]
pub struct Explain {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Preset that says how the server's metrics divide its time [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Draw where the clients are at each level
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Frames whose cost grew, at most
    #[arg(long, value_name = "N", default_value_t = 8)]
    top: usize,
}

impl Explain {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let mut loaded = input::load(common, &self.run, Parts { companions: false, ..Parts::ALL })?;
        input::keep_level(&mut loaded.run, self.level)?;
        let run = &loaded.run;
        let (hops, demands) = (places(run), demands(run));
        let tables = level_tables(&summary(run)).into_iter().chain(scraped_table(&scraped(run)));
        let levels = Section { title: "Levels".into(), tables: tables.collect(), ..Section::default() };
        let unfollowed = Section {
            title: "Where a query is".into(),
            notes: vec!["Not measured: the sockets were not followed in this run.".into()],
            ..Section::default()
        };
        let followed = places_section(&hops).unwrap_or(unfollowed);
        let preset = input::preset(&run.manifest, self.preset.as_deref());
        let waiting = self.waits(run, preset.as_ref().ok());
        let followed_by = preset.as_ref().map(Preset::clone).or_else(|_| Preset::built_in("generic"));
        let trees = nodes(run, &hops, preset.as_ref().ok());
        let mut within = within(&trees, preset);
        let populations = populations(&hops, &trees);
        within.notes.extend(populations_sentences(&populations));
        if let Some(path) = &self.svg {
            within.pictures.push(draw(run, &populations, path)?);
        }
        let mut sections = vec![levels, followed, within];
        sections.extend(load_places(&hops).map(|hop| tails_section(hop, &tails(run))));
        if let Ok(preset) = &followed_by {
            let divided = hands(run, preset);
            sections.push(hands_section(&divided, &not_followed(run, &divided)));
        }
        sections.push(demands_section(&demands, &bounds(run, &demands)));
        sections.push(waiting);
        sections.extend(growth_section(growth(run, &hops).as_ref()));
        if run.windows.iter().any(|window| window.profile.is_some()) {
            let options = HotOptions { order: Order::Growth, top: self.top, ..HotOptions::default() };
            let tables = vec![frames_table(&hot(run, &options))];
            sections.push(Section { title: "Frames whose cost a query grew".into(), tables, ..Section::default() });
        }
        sections.push(correlation_section(&slow_slices(run), &together(run)));
        output::report(common, &Report { title: format!("Run {} explained", run.manifest.id), sections })
    }

    /// What threads wait for: of everything and of each focus of the preset.
    fn waits(&self, run: &Run, preset: Option<&Preset>) -> Section {
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
            return Section { title: "What threads wait for".into(), notes, ..Section::default() };
        };
        let windows: Vec<_> = run.windows.iter().filter_map(|window| window.off_cpu.as_ref()).collect();
        waits_section(&rows, &blocked_stacks(run, highest, &kinds, &[], self.top), highest, &windows)
    }
}

/// The tree, and what of the preset could not be used for it.
fn within(levels: &BTreeMap<usize, LevelNodes>, preset: Result<Preset>) -> Section {
    let mut section = nodes_section(levels);
    match preset {
        Ok(preset) => section.notes.extend(misplaced(levels, &preset).into_iter().map(|nested| {
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
