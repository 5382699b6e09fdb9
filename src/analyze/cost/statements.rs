//! What each statement of the database behind costs, per level. Invariant: a mean is divided by the calls that it was
//! measured in, and calls per query of the client are rates over each side's own seconds.

use crate::run::{Part, Run, Window};
use crate::statements::{StatementDelta, same_statement};
use std::collections::{BTreeMap, BTreeSet};

/// One statement of one application over the levels.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementCost {
    /// Text of the statement, as the source gives it.
    pub query: String,
    /// `None` where the source does not tell applications apart.
    pub application: Option<String>,
    /// The preset wants it shown.
    pub watched: bool,
    /// By level: the number of clients. A level whose statistics do not have it is absent.
    pub levels: BTreeMap<usize, LevelStatement>,
}

/// One statement at one level, over its windows.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelStatement {
    /// Calls for each query of the client.
    pub calls_per_query: f64,
    /// Counts and times (ns) summed over the windows.
    pub total: StatementDelta,
}

/// Where the figures come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementSources {
    /// Names of the sources of the statistics.
    pub sources: BTreeSet<String>,
    /// Number of windows with statement statistics, and in all.
    pub windows: (usize, usize),
    /// Statements that were evicted or reset within a window.
    pub vanished: usize,
    /// Statements of other roles that the reader's role may not see, at most in one window.
    pub hidden: usize,
    /// Watched fingerprints that nobody called.
    pub not_called: Vec<String>,
    /// Why windows have none.
    pub missing: BTreeSet<String>,
}

/// Statements with calls in any window: the watched ones first, then by execution time at the last level.
pub fn statements(run: &Run, watched: &[String]) -> Vec<StatementCost> {
    let mut found: BTreeMap<Key, BTreeMap<usize, LevelStatement>> = BTreeMap::new();
    for (level, windows) in run.levels() {
        for (key, cost) in at_level(&windows) {
            found.entry(key).or_default().insert(level, cost);
        }
    }
    let is_watched = |query: &str| watched.iter().any(|wanted| same_statement(wanted, query));
    let cost = |((query, application), levels): (Key, _)| StatementCost {
        watched: is_watched(&query),
        query,
        application,
        levels,
    };
    let mut costs: Vec<StatementCost> = found.into_iter().map(cost).collect();
    let exec = |cost: &StatementCost| {
        let last = cost.levels.last_key_value();
        last.map_or(0.0, |(_, level)| level.calls_per_query * level.total.mean_exec().unwrap_or(0.0))
    };
    costs.sort_by(|a, b| b.watched.cmp(&a.watched).then_with(|| exec(b).total_cmp(&exec(a))));
    costs
}

/// What the statements' figures rest on.
pub fn statement_sources(run: &Run, watched: &[String], costs: &[StatementCost]) -> StatementSources {
    let deltas = || run.windows.iter().filter_map(|window| window.statements.as_ref());
    let seen = |wanted: &&String| costs.iter().any(|cost| same_statement(wanted, &cost.query));
    let missing = run.windows.iter().flat_map(|window| &window.facts.missing);
    StatementSources {
        sources: deltas().map(|delta| delta.source.clone()).collect(),
        windows: (deltas().count(), run.windows.len()),
        vanished: deltas().map(|delta| delta.vanished).sum(),
        hidden: deltas().map(|delta| delta.hidden).max().unwrap_or(0),
        not_called: watched.iter().filter(|wanted| !seen(wanted)).cloned().collect(),
        missing: missing
            .filter(|missing| missing.what == Part::Statements)
            .map(|missing| missing.why.clone())
            .collect(),
    }
}

type Key = (String, Option<String>);

/// Sums over the windows that have statement statistics.
fn at_level(windows: &[&Window]) -> BTreeMap<Key, LevelStatement> {
    let mut sums: BTreeMap<Key, (f64, StatementDelta)> = BTreeMap::new();
    let mut queries = 0.0;
    for window in windows {
        let Some(delta) = window.statements.as_ref().filter(|delta| delta.span().nanos() > 0) else { continue };
        queries += window.load.completed as f64;
        let share = window.load.span.seconds() / delta.span().seconds();
        for statement in &delta.statements {
            let calls = statement.calls as f64 * share;
            let key = (statement.query.clone(), statement.application.clone());
            let sum = match sums.remove(&key) {
                Some((former, total)) => (former + calls, total.plus(statement.clone())),
                None => (calls, statement.clone()),
            };
            sums.insert(key, sum);
        }
    }
    let level = |(key, (calls, total))| (key, LevelStatement { calls_per_query: calls / queries, total });
    sums.into_iter().filter(|_| queries > 0.0).map(level).collect()
}
