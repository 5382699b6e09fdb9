//! `wireprof log check`: whether the log's generated parts are what the runs gave, and whether the figures that people
//! wrote can be true together.

use super::{existing, no_entry};
use crate::cli::{Common, Outcome, output};
use crate::perflog::{Checked, Finding, Kind, check};
use crate::render::{Cell, Column, Report, Section, Table};
use crate::run::Store;
use crate::words::counted;
use anyhow::Result;
use clap::Args;
use std::path::Path;

/// Hold the log against its runs, its copies and itself: edited numbers, arithmetic, sessions, baselines, links
#[derive(Args)]
#[command(after_help = "\
Wrong, and exit code 1: a generated part that was edited, half of a marker, a session's number used twice or left out, a
baseline that no run of the log has (in entries that have a run), a link that leads nowhere, a log without any entry;
in tables and sentences that people wrote: figures that cannot be true together whatever their rounding. These are a
difference, percentage or factor that does not follow from its cells; clients that are not throughput times latency; a
part larger than its whole, shares of more than 100 %; p50 above p99, a mean outside of its ends; a sum that is not one;
more CPU than cores; a count that is not rate times time; units that differ by 1000.
Told, and no failure: what cannot be checked, because the run and its copy are gone, or because a person wrote it. What
is not understood is counted, and listed with --verbose.

Examples:
  wireprof log check
  # only session 49 and later
  wireprof log check --from 49
  wireprof log check --log old.md --runs /mnt/runs --json")]
pub struct LogCheck {
    /// Entries of earlier sessions are left alone
    #[arg(long, value_name = "SESSION")]
    from: Option<u64>,
    /// List figures that are not understood, and those that no generated part has
    #[arg(long, short)]
    verbose: bool,
    /// Findings shown at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl LogCheck {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let log = existing(path)?;
        let checked = check(path, &log, &Store::new(&common.runs), self.from);
        output::report(common, &self.report(path, &checked))?;
        Ok(if checked.wrong().next().is_some() { Outcome::CheckFailed } else { Outcome::Done })
    }

    fn report(&self, path: &Path, checked: &Checked) -> Report {
        let columns = vec![
            Column::position("line", "line"),
            Column::position("column", "column"),
            Column::position("session", "session"),
            Column::text("verdict", "status"),
            Column::text("finding", "finding"),
            Column::text("remedy", "remedy"),
        ];
        // The wrong ones must not be cut off by those that could only not be checked.
        let quiet = |finding: &&Finding| self.verbose || !matches!(finding.kind, Kind::NotUnderstood { .. });
        let mut shown: Vec<&Finding> = checked.findings.iter().filter(quiet).collect();
        shown.sort_by_key(|finding| !finding.kind.is_wrong());
        let left_out = shown.len().saturating_sub(self.limit);
        let rows = shown.iter().take(self.limit).map(|finding| row(finding)).collect();
        let mut notes = vec![summary(checked)];
        if checked.findings.iter().any(|finding| finding.kind == Kind::NoEntry) {
            notes.push(no_entry(path));
        }
        if left_out > 0 {
            notes.push(format!("{left_out} more findings are not shown: --limit N shows more."));
        }
        let tables = vec![Table { id: "findings", columns, rows, ..Table::default() }];
        let section = Section { id: "findings", tables, notes, ..Section::default() };
        Report { title: format!("Check of {}", path.display()), sections: vec![section], ..Report::default() }
    }
}

fn row(finding: &Finding) -> Vec<Cell> {
    let number = |number: Option<u64>| number.map_or(Cell::Empty, Cell::Count);
    vec![
        Cell::Count(finding.line as u64),
        number(finding.column.map(|column| column as u64)),
        number(finding.session),
        if finding.kind.is_wrong() { Cell::coded("wrong", "WRONG") } else { Cell::coded("unchecked", "unchecked") },
        Cell::Text(finding.kind.to_string()),
        Cell::Text(finding.kind.remedy().into()),
    ]
}

fn summary(checked: &Checked) -> String {
    let wrong = checked.wrong().count();
    let not_understood =
        checked.findings.iter().filter(|finding| matches!(finding.kind, Kind::NotUnderstood { .. })).count();
    format!(
        "{}, {}: {} held against the copies beside the log, {} made again from stored runs; \
         {} relations between figures that people wrote hold; {wrong} wrong, {} could not be checked{}.",
        counted(checked.entries as u64, "entry"),
        counted(checked.blocks as u64, "generated part"),
        checked.by_copy,
        checked.by_run,
        checked.held,
        checked.findings.len() - wrong,
        if not_understood > 0 {
            format!(", {not_understood} of them not understood (--verbose lists them)")
        } else {
            String::new()
        }
    )
}
