//! Guards as a report: every one that does not pass, with its evidence and remedy; those that pass are counted.

use super::model::{Cell, Column, Report, Section, Table};
use crate::check::{Guard, Verdict};
use crate::run::{Run, WindowId};

/// The guards of all windows.
pub fn guards_report(run: &Run) -> Report {
    let guards: Vec<(WindowId, &Guard)> =
        run.windows.iter().flat_map(|w| w.guards.iter().map(move |g| (w.id(), g))).collect();
    let section = Section { title: "Guards".into(), tables: vec![guards_table(&guards)], ..Section::default() };
    Report { title: format!("Guards of run {}", run.manifest.id), sections: vec![section] }
}

/// The worst first.
pub fn guards_table(guards: &[(WindowId, &Guard)]) -> Table {
    let columns = vec![
        Column::text("window", "window"),
        Column::text("verdict", "verdict"),
        Column::text("evidence", "evidence"),
        Column::text("remedy", "remedy"),
    ];
    let mut shown: Vec<_> = guards.iter().filter(|(_, g)| g.verdict() != Verdict::Pass).collect();
    shown.sort_by_key(|(window, guard)| (std::cmp::Reverse(guard.verdict()), *window));
    let rows = shown
        .iter()
        .map(|(window, guard)| {
            vec![
                Cell::Text(window.directory()),
                Cell::Text(word(guard.verdict()).into()),
                Cell::Text(guard.to_string()),
                Cell::Text(guard.remedy().unwrap_or_default()),
            ]
        })
        .collect();
    let notes = vec![format!("{} of {} checks passed.", guards.len() - shown.len(), guards.len())];
    Table { title: String::new(), columns, rows, notes }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::NotMeasured => "not measured",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}
