//! What a level's stacks weigh, as every format of stacks gets it. Invariant: nothing is folded, shortened or left out,
//! so a level's weights sum to those that are stored; samples with times stand in the order of time.

use super::What;
use crate::analyze::cost::carrier_names::Naming;
use crate::analyze::cost::view::{Per, Source, ViewOptions, Weights, WindowView, window_view};
use crate::clock::{Nanos, Span};
use crate::profile::{Profile, Sample, merge};
use crate::run::{Run, Window};

/// One level's stacks of one kind, all its windows together.
pub struct Stacks {
    /// Number of clients.
    pub level: usize,
    /// What the weights are, in words: `CPU`, `blocked`.
    pub name: &'static str,
    /// All columns that are stored. Times are ns after the start of the level's first window.
    pub profile: Profile,
    /// Index of the column that weighs, among the profile's.
    pub column: usize,
    /// Length of the windows together.
    pub span: Span,
    /// ns of a sample; `None`: it has none, or that is not known.
    pub period: Option<u64>,
    /// Instant that the samples' times count from.
    pub began: Nanos,
}

impl Stacks {
    /// Unit of the weights, in pprof's words: `nanoseconds`, `cycles`, `count`.
    pub fn unit(&self) -> &str {
        &self.profile.columns[self.column].unit
    }

    /// The weight of a sample; a stored one is never negative.
    pub fn weight(&self, sample: &Sample) -> u64 {
        sample.values[self.column].max(0) as u64
    }
}

/// The stacks of each level that has any, levels ascending.
pub fn stacks(run: &Run, what: What, naming: &Naming) -> Vec<Stacks> {
    let of_level = |(level, windows): (usize, Vec<&Window>)| {
        let of_source = move |source: &(Source, &'static str)| level_stacks(level, &windows, *source, naming);
        sources(what).iter().filter_map(of_source).collect::<Vec<_>>()
    };
    run.levels().into_iter().flat_map(of_level).collect()
}

/// The stacks of one window.
pub fn window_stacks(window: &Window, what: What, naming: &Naming) -> Vec<Stacks> {
    let of_source = |source: &(Source, &'static str)| level_stacks(window.id().level, &[window], *source, naming);
    sources(what).iter().filter_map(of_source).collect()
}

/// The views that make it up, each with the word for what it weighs.
fn sources(what: What) -> &'static [(Source, &'static str)] {
    match what {
        What::Cpu => &[(Source::OnCpu, "CPU")],
        What::OffCpu => &[(Source::Blocked, "blocked"), (Source::Runnable, "runnable")],
        What::Hands => &[(Source::InHand, "in the server's hands")],
    }
}

fn level_stacks(
    level: usize,
    windows: &[&Window],
    (source, name): (Source, &'static str),
    naming: &Naming,
) -> Option<Stacks> {
    // What costs are divided by plays no part: weights are exported as they are stored.
    let options = ViewOptions {
        source,
        weights: Weights::Sampled,
        per: Per::Hundredth,
        naming: Some(naming.clone()),
        ..ViewOptions::default()
    };
    let views: Vec<WindowView> = windows.iter().filter_map(|window| window_view(window, &options)).collect();
    let first = views.first()?;
    let mut profile = merge(&views.iter().map(|view| view.profile.as_ref()).collect::<Vec<_>>());
    let column = profile.column(&first.profile.columns[first.column].kind)?;
    let begin = views.iter().map(|view| view.window.profile_span().start).min()?;
    // A merged profile has the samples of its parts one after the other, without times of several spans.
    let times = views.iter().flat_map(|view| {
        let after = view.window.profile_span().start - begin;
        view.profile.samples.iter().map(move |sample| Some(sample.at? + after))
    });
    profile.samples.iter_mut().zip(times).for_each(|(sample, at)| sample.at = at);
    profile.samples.sort_by_key(|sample| sample.at);
    let period = first.window.sampling.as_ref().filter(|_| source == Source::OnCpu).and_then(|report| report.period);
    let nanos = views.iter().map(|view| span_of(view).nanos()).sum();
    Some(Stacks { level, name, column, profile, period, span: Span::new(0, nanos), began: begin })
}

/// When what the view shows was recorded.
fn span_of(view: &WindowView) -> Span {
    let window = view.window;
    match view.source {
        Source::OnCpu => window.profile_span(),
        Source::Blocked | Source::Runnable => {
            window.off_cpu.as_ref().map_or(window.facts.span, |off_cpu| off_cpu.report.span)
        }
        Source::Waits | Source::InHand => {
            window.hands.as_ref().map_or(window.facts.span, |hands| hands.facts.carried.span)
        }
    }
}
