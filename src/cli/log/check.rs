//! `wireprof log check`: whether the log's generated parts are what the runs gave.

use super::{existing, no_entry};
use crate::cli::{Common, Outcome, output};
use crate::perflog::{Checked, Finding, Kind, check};
use crate::render::{Cell, Column, Report, Section, Table};
use crate::run::Store;
use anyhow::Result;
use clap::Args;
use std::path::Path;

/// Hold the log against its runs and the copies beside it: edited numbers, sessions, baselines, links
#[derive(Args)]
#[command(after_help = "\
Wrong, and exit code 1: a generated part that was edited, half of a marker, a session's number used twice or left \
out, a baseline that no run of the log has (in entries that have a run), a link that leads nowhere, a log without any \
entry. Told, and no failure: what cannot be checked, because the run and its copy are gone, or because a person wrote \
it.

Examples:
  wireprof log check
  # only session 49 and later
  wireprof log check --from 49
  wireprof log check --log old.md --runs /mnt/runs --json")]
pub struct LogCheck {
    /// Entries of earlier sessions are left alone
    #[arg(long, value_name = "SESSION")]
    from: Option<u64>,
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
            Column::number("line", "line", ""),
            Column::number("column", "column", ""),
            Column::number("session", "session", ""),
            Column::text("verdict", "verdict"),
            Column::text("finding", "finding"),
            Column::text("remedy", "remedy"),
        ];
        // The wrong ones must not be cut off by those that could only not be checked.
        let mut shown: Vec<&Finding> = checked.findings.iter().collect();
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
        let tables = vec![Table { columns, rows, ..Table::default() }];
        let section = Section { tables, notes, ..Section::default() };
        Report { title: format!("Check of {}", path.display()), sections: vec![section] }
    }
}

fn row(finding: &Finding) -> Vec<Cell> {
    let number = |number: Option<u64>| number.map_or(Cell::Empty, Cell::Count);
    vec![
        Cell::Count(finding.line as u64),
        number(finding.column.map(|column| column as u64)),
        number(finding.session),
        Cell::Text(if finding.kind.is_wrong() { "WRONG" } else { "unchecked" }.into()),
        Cell::Text(finding.kind.to_string()),
        Cell::Text(finding.kind.remedy().into()),
    ]
}

fn summary(checked: &Checked) -> String {
    let wrong = checked.wrong().count();
    format!(
        "{} entries, {} generated parts: {} held against the copies beside the log, {} made again from stored runs; \
         {wrong} wrong, {} could not be checked.",
        checked.entries,
        checked.blocks,
        checked.by_copy,
        checked.by_run,
        checked.findings.len() - wrong
    )
}
