//! Checks as a report: every one that does not pass, with its evidence and remedy; those that pass are counted.

use super::model::{Cell, Column, Report, Section, Table};
use crate::check::{Check, Status};
use crate::run::{Run, WindowId};

/// The checks of all windows.
pub fn checks_report(run: &Run) -> Report {
    let checks: Vec<(WindowId, &Check)> =
        run.windows.iter().flat_map(|w| w.checks.iter().map(move |g| (w.id(), g))).collect();
    let tables = vec![checks_table(&checks)];
    let section = Section { id: "checks", title: "Guards".into(), tables, ..Section::default() };
    Report { title: format!("Guards of run {}", run.manifest.id), sections: vec![section] }
}

/// The worst first.
pub fn checks_table(checks: &[(WindowId, &Check)]) -> Table {
    let columns = vec![
        Column::text("window", "window"),
        Column::text("verdict", "verdict"),
        Column::text("evidence", "evidence"),
        Column::text("remedy", "remedy"),
    ];
    let mut shown: Vec<_> = checks.iter().filter(|(_, g)| g.status() != Status::Pass).collect();
    shown.sort_by_key(|(window, check)| (std::cmp::Reverse(check.status()), *window));
    let rows = shown
        .iter()
        .map(|(window, check)| {
            vec![
                Cell::Text(window.directory()),
                Cell::Text(word(check.status()).into()),
                Cell::Text(check.to_string()),
                Cell::Text(check.remedy().unwrap_or_default()),
            ]
        })
        .collect();
    let notes = vec![match checks.len() {
        0 => "No check is stored with these windows: not measured.".to_string(),
        all => format!("{} of {all} checks passed.", all - shown.len()),
    }];
    Table { title: String::new(), columns, rows, notes }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::NotMeasured => "not measured",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    }
}
