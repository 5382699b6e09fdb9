//! Hot frames: what each frame costs a query at each level, and what grew. Invariant: a level's self costs and what
//! lies outside the focus sum to its total, and a frame that recurs in a stack counts once in `total`.

use super::carried::why_not_followed;
use super::owners::{Rules, owned};
use super::tally::{Identity, Tally, tally};
use super::view::{FoldedFrames, Per, Provenance, Source, ViewOptions, WindowView, folded, provenance, window_view};
use crate::analyze::statistics::interval::{Estimate, WindowCost, difference, estimate};
use crate::profile::{ColumnKind, Focus, Folding, Space};
use crate::run::{Run, Window};
use regex::Regex;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Which samples count for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Those whose leaf it is.
    #[default]
    SelfCost,
    /// Those whose stack has it.
    Total,
    /// Those that it owns: it is the innermost function of the server's program that is no helper.
    Owner,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The most expensive at the last level.
    #[default]
    Cost,
    /// What grew most from the first level to the last.
    Growth,
}

/// What to show of a run's profiles.
#[derive(Clone, Debug)]
pub struct HotOptions {
    /// Which profiles: samples on CPU, or waits.
    pub source: Source,
    /// Only what runs under these functions; `None`: everything.
    pub focus: Option<Focus>,
    /// Which samples count for a frame.
    pub by: By,
    /// What comes first.
    pub order: Order,
    /// Only frames whose full or short name matches.
    pub frame: Option<Regex>,
    /// Rows at most.
    pub top: usize,
    /// Show the callers of the frames that match instead of the frames.
    pub callers_of: Option<Regex>,
    /// Kind of the column; `None`: see [`ViewOptions::column`].
    pub column: Option<ColumnKind>,
    /// Frames to fold into their callers, but for those that `frame`, `callers_of` or the focus ask for.
    pub folding: Folding,
    /// The kernel's frames as one, by what the kernel was entered for.
    pub kernel_grouped: bool,
    /// Who owns what, for [`By::Owner`]; without them costs are self costs.
    pub owners: Option<Rules>,
}

impl Default for HotOptions {
    fn default() -> Self {
        HotOptions {
            source: Source::OnCpu,
            focus: None,
            by: By::default(),
            order: Order::default(),
            frame: None,
            top: 30,
            callers_of: None,
            column: None,
            folding: Folding::default(),
            kernel_grouped: false,
            owners: None,
        }
    }
}

/// One level's totals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HotLevel {
    /// Number of clients.
    pub level: usize,
    /// Number of windows with a profile that could be used.
    pub windows: usize,
    /// Number of windows in all.
    pub replicates: usize,
    /// Queries the costs are divided by; `None`: they were not counted, and costs are shares, or there is no profile.
    pub queries: Option<f64>,
    /// All sampled cost per query; `None`: not measured.
    pub total: Option<Estimate>,
    /// Cost per query outside the focus; `None` without a focus or profile.
    pub outside: Option<Estimate>,
    /// How the samples came to be.
    pub provenance: Provenance,
    /// Why there is nothing; `None`: there is.
    pub missing: Option<String>,
}

/// One frame over the levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HotRow {
    /// The function, or its caller where callers are asked for; a marker in brackets where it stands for
    /// something else.
    #[serde(flatten)]
    pub frame: Identity,
    /// Cost per query, one for each level of the table; `None`: not measured there.
    pub costs: Vec<Option<Estimate>>,
    /// Last level over first; `None` where either is not measured or the first is 0.
    pub ratio: Option<f64>,
    /// Last level minus first, per query.
    pub difference: Option<f64>,
    /// 95 % interval of `difference`; `None` where either level has no interval.
    pub difference_interval: Option<(f64, f64)>,
}

/// Frames x levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HotTable {
    /// Id of the run.
    pub run: String,
    /// As in [`HotOptions::source`].
    pub source: Source,
    /// As in [`HotOptions::by`].
    pub by: By,
    /// As in [`HotOptions::order`].
    pub order: Order,
    /// Name of the focus; `None`: everything is shown.
    pub focus: Option<String>,
    /// The pattern of the functions whose callers are shown; `None`: the functions themselves are.
    pub callers_of: Option<String>,
    /// What was folded into their callers at the last level that was measured; `None`: nothing was to be.
    pub folded: Option<FoldedFrames>,
    /// The kernel's frames are shown as one, by what the kernel was entered for.
    pub kernel_grouped: bool,
    /// Kind of the column, as stored (`cpu`); empty without a profile.
    pub column: String,
    /// Unit of the column, as stored (`nanoseconds`); empty without a profile.
    pub unit: String,
    /// What the costs are divided by.
    pub per: Per,
    /// One for each of the run's levels, ascending.
    pub levels: Vec<HotLevel>,
    /// The frames in the order that was asked for, at most as many as [`HotOptions::top`].
    pub rows: Vec<HotRow>,
    /// The frames that `top` left out, in one row (self costs only: totals of frames overlap).
    pub others: Option<HotRow>,
    /// How many frames matched, shown or not.
    pub frames: usize,
}

/// Makes the table. A run without any profile gives one without rows, its levels' totals `None`.
pub fn hot(run: &Run, options: &HotOptions) -> HotTable {
    // What was answered while the carriers were followed is counted at the sockets, whoever makes the load.
    let per = if options.source.is_of_hands() { Per::Query } else { Per::of(run) };
    let owners = options.owners.as_ref().filter(|_| options.by == By::Owner);
    let view_options = ViewOptions {
        per,
        source: options.source,
        focus: options.focus.clone(),
        folding: folding(options),
        // Who owns what is told by the kernel's own functions.
        kernel_grouped: options.kernel_grouped && owners.is_none(),
        column: options.column.clone(),
        ..ViewOptions::default()
    };
    let (mut levels, mut tallies, mut column, mut away) = (Vec::new(), Vec::new(), None, None);
    for (level, windows) in run.levels() {
        let mut views: Vec<WindowView> = windows.iter().filter_map(|w| window_view(w, &view_options)).collect();
        away = folded(&views).or(away);
        if let Some(rules) = owners {
            let waits = options.source != Source::OnCpu;
            let of_owners = |view: &mut WindowView| {
                view.profile = Cow::Owned(owned(&view.profile, rules, waits, options.kernel_grouped));
            };
            views.iter_mut().for_each(of_owners);
        }
        let found: Vec<Tally> = views.iter().map(|v| tally(v, options.by, options.callers_of.as_ref())).collect();
        column = column.or_else(|| views.first().map(|v| v.profile.columns[v.column].clone()));
        levels.push(level_totals(&view_options, level, &windows, &views, &found));
        tallies.push(found);
    }
    let mut rows = rows(&tallies, options);
    let frames = rows.len();
    let left_out = rows.split_off(options.top.min(frames));
    let (column, unit) = column.map_or_else(Default::default, |c| (c.kind.to_string(), c.unit));
    HotTable {
        run: run.manifest.id.clone(),
        source: options.source,
        by: options.by,
        order: options.order,
        focus: options.focus.as_ref().map(|f| f.name.clone()),
        callers_of: options.callers_of.as_ref().map(|r| r.as_str().to_string()),
        folded: away,
        kernel_grouped: options.kernel_grouped,
        column,
        unit,
        per,
        levels,
        rows,
        others: others(&left_out, &tallies, options),
        frames,
    }
}

/// What is asked for by name is not folded.
fn folding(options: &HotOptions) -> Folding {
    let focus = options.focus.iter().flat_map(|focus| focus.patterns.iter().cloned());
    options.folding.clone().but(focus.chain(options.frame.clone()).chain(options.callers_of.clone()))
}

fn level_totals(
    options: &ViewOptions,
    level: usize,
    windows: &[&Window],
    views: &[WindowView],
    tallies: &[Tally],
) -> HotLevel {
    let per = options.per;
    HotLevel {
        level,
        windows: views.len(),
        replicates: windows.len(),
        queries: (per == Per::Query && !views.is_empty()).then(|| views.iter().map(|v| v.queries).sum()),
        total: estimate(&tallies.iter().map(|t| t.total.clone()).collect::<Vec<_>>()),
        outside: tallies.iter().map(|t| t.outside.clone()).collect::<Option<Vec<_>>>().and_then(|t| estimate(&t)),
        provenance: provenance(views),
        missing: views.is_empty().then(|| match options.source.is_of_hands() {
            true => why_not_followed(windows),
            false => "no profile at this level".into(),
        }),
    }
}

/// All frames that are asked for, in the order that is asked for.
fn rows(tallies: &[Vec<Tally>], options: &HotOptions) -> Vec<HotRow> {
    let frames: BTreeSet<&Identity> = tallies.iter().flatten().flat_map(|t| t.frames.keys()).collect();
    let wanted = |frame: &Identity| options.frame.as_ref().is_none_or(|filter| frame.matches(filter));
    let mut rows: Vec<HotRow> =
        frames.into_iter().filter(|f| wanted(f)).map(|f| row(f.clone(), &[f], tallies)).collect();
    let key = |row: &HotRow| match options.order {
        Order::Cost => row.costs.iter().rev().flatten().map(|c| c.value).next().unwrap_or(0.0),
        Order::Growth => row.difference.unwrap_or(f64::NEG_INFINITY),
    };
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.frame.cmp(&b.frame)));
    rows
}

/// A row of the summed costs of `frames`.
fn row(name: Identity, frames: &[&Identity], tallies: &[Vec<Tally>]) -> HotRow {
    let cost = |tally: &Tally| {
        let mut sum = tally.blank.clone();
        frames.iter().filter_map(|f| tally.frames.get(f)).for_each(|cost| sum.add(cost));
        sum
    };
    let costs: Vec<Option<Estimate>> =
        tallies.iter().map(|level| estimate(&level.iter().map(cost).collect::<Vec<WindowCost>>())).collect();
    let ends = || Some((costs.first()?.as_ref()?, costs.last()?.as_ref()?)).filter(|_| costs.len() > 1);
    HotRow {
        frame: name,
        ratio: ends().filter(|(first, _)| first.value > 0.0).map(|(first, last)| last.value / first.value),
        difference: ends().map(|(first, last)| last.value - first.value),
        difference_interval: ends().and_then(|(first, last)| difference(first, last)),
        costs,
    }
}

/// The rows that were left out, as one.
fn others(left_out: &[HotRow], tallies: &[Vec<Tally>], options: &HotOptions) -> Option<HotRow> {
    let additive = options.by != By::Total || options.callers_of.is_some();
    let frames: Vec<&Identity> = left_out.iter().map(|r| &r.frame).collect();
    let name = Identity {
        name: format!("[{} more {}]", frames.len(), if frames.len() == 1 { "frame" } else { "frames" }),
        module: String::new(),
        space: Space::Marker,
    };
    (additive && !frames.is_empty()).then(|| row(name, &frames, tallies))
}
