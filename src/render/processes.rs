//! CPU by process as a table: whether the cost is in the server or in what stands behind it.

use super::json::code;
use super::model::{Cell, Column, Table};
use crate::analyze::cost::processes::ProcessCost;
use crate::target::Role;
use std::collections::BTreeSet;

/// One row per role and name of process, two columns per level.
pub fn processes_table(costs: &[ProcessCost]) -> Table {
    let levels: BTreeSet<usize> = costs.iter().flat_map(|c| c.levels.keys().copied()).collect();
    let mut columns = vec![Column::text("role", "role"), Column::text("process", "process")];
    for level in &levels {
        columns.push(Column::at(*level, "cpu", &format!("CPU {level}"), "µs/query"));
        columns.push(Column::at(*level, "runnable", &format!("runnable {level}"), "µs/query"));
    }
    let row = |cost: &ProcessCost| {
        let mut cells = vec![Cell::coded(&code(&cost.role), role(cost.role)), Cell::Text(cost.process.clone())];
        for level in &levels {
            let both = cost.levels.get(level);
            let cell = |nanos: Option<f64>| Cell::or_missing(nanos.map(|n| n / 1e3), "not there at this level");
            cells.extend([cell(both.map(|b| b.0)), cell(both.map(|b| b.1))]);
        }
        cells
    };
    Table {
        id: "processes",
        title: "CPU by process".into(),
        columns,
        rows: costs.iter().map(row).collect(),
        ..Table::default()
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Target => "target",
        Role::Generator => "generator",
        Role::Profiler => "wireprof",
        Role::Other => "other",
        Role::Unfollowed => "child, not counted with the target",
    }
}
