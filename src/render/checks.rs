//! Checks as a report, with their evidence and remedies: for people those that do not pass, and how many do; for
//! programs all of them.

use super::json::code;
use super::model::{Cell, Column, Report, Section, Table};
use crate::check::{Check, Status};
use crate::run::{Run, WindowId};

/// The checks of all windows; `all`: those that pass have rows as well.
pub fn checks_report(run: &Run, all: bool) -> Report {
    let checks: Vec<(WindowId, &Check)> =
        run.windows.iter().flat_map(|w| w.checks.iter().map(move |g| (w.id(), g))).collect();
    let tables = vec![checks_table(&checks, all)];
    let section = Section { id: "checks", title: "Checks".into(), tables, ..Section::default() };
    Report {
        title: format!("Checks of run {}", run.manifest.id),
        runs: vec![run.manifest.id.clone()],
        sections: vec![section],
    }
}

/// The worst first; `all`: those that pass have rows as well.
pub fn checks_table(checks: &[(WindowId, &Check)], all: bool) -> Table {
    let columns = vec![
        Column::text("window", "window"),
        Column::text("verdict", "status"),
        Column::text("check", "evidence"),
        Column::text("remedy", "remedy"),
    ];
    let mut shown: Vec<_> = checks.iter().filter(|(_, g)| all || g.status() != Status::Pass).collect();
    shown.sort_by_key(|(window, check)| (std::cmp::Reverse(check.status()), *window));
    let rows = shown
        .iter()
        .map(|(window, check)| {
            vec![
                Cell::Coded {
                    code: window.directory(),
                    text: window.directory(),
                    number: Some(("level", window.level as u64)),
                },
                Cell::coded(&code(&check.status()), word(check.status())),
                Cell::coded(&check_name(check), check.to_string()),
                check.remedy().map_or(Cell::Empty, Cell::Text),
            ]
        })
        .collect();
    let notes = vec![match checks.len() {
        0 => "No check is stored with these windows: not measured.".to_string(),
        all => {
            let passed = checks.iter().filter(|(_, check)| check.status() == Status::Pass).count();
            format!("{passed} of {all} checks passed.")
        }
    }];
    Table { id: "checks", columns, rows, notes, ..Table::default() }
}

/// Its name in stored runs.
pub(super) fn check_name(check: &Check) -> String {
    code(check)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::NotMeasured => "not measured",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    }
}
