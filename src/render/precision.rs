//! How precisely a run's large functions are known: in sentences, and as a table with a row a level. Invariant: what
//! was not measured says so, and a precision that was asked for is either reached, or said with what it would take.

use super::figure::significant;
use super::model::{Cell, Column, Table};
use crate::analyze::cost::precision::{LARGE, Precision};
use crate::run::PrecisionGoal;
use crate::words::{counted, list};

/// What is known, in a line; and in another one how it compares with what was asked for.
pub fn precision_notes(levels: &[Precision], goal: Option<PrecisionGoal>) -> Vec<String> {
    if levels.iter().all(|level| level.windows == 0) {
        return goal.map(|_| "precision: not known: no stacks were sampled".to_string()).into_iter().collect();
    }
    let large = format!("functions with at least {} % of the CPU", 100.0 * LARGE);
    let known: Vec<String> = levels.iter().filter_map(Precision::told).collect();
    let mut told = Vec::new();
    if !known.is_empty() {
        told.push(format!("{large} are known to {}", list(&known)));
    }
    for why in [NO_STACKS, NONE_LARGE, NO_INTERVAL] {
        let of = levels.iter().filter(|level| level.widest.is_none() && unknown(level) == why);
        let of: Vec<String> = of.map(|level| level.level.to_string()).collect();
        if !of.is_empty() {
            told.push(format!("nothing is known of level {}: {why}", list(&of)));
        }
    }
    let mut notes = vec![format!("precision: {}", told.join("; "))];
    notes.extend(goal.map(|goal| against(levels, goal)));
    notes
}

const NO_STACKS: &str = "no stacks were sampled";
const NONE_LARGE: &str = "no function has at least 5 % of the CPU";
const NO_INTERVAL: &str = "a function with at least 5 % of the CPU has no interval";

/// Why a level without a widest interval has none.
fn unknown(level: &Precision) -> &'static str {
    match (level.windows, level.functions) {
        (0, _) => NO_STACKS,
        (_, 0) => NONE_LARGE,
        _ => NO_INTERVAL,
    }
}

/// Which levels have the precision that was asked for, and what the others would take.
fn against(levels: &[Precision], goal: PrecisionGoal) -> String {
    let reaches = |level: &&Precision| level.reaches(goal.half_width);
    let reached: Vec<String> = levels.iter().filter(reaches).map(|level| level.level.to_string()).collect();
    let mut told = Vec::new();
    if !reached.is_empty() {
        told.push(format!("reached at level {}", list(&reached)));
    }
    told.extend(levels.iter().filter(|level| !reaches(level)).map(|level| lacking(level, goal)));
    format!("precision: {} was asked for (--precision): {}", goal.told(), told.join("; "))
}

fn lacking(level: &Precision, goal: PrecisionGoal) -> String {
    let Precision { level: clients, windows, seconds, .. } = level;
    let taken = counted(*windows as u64, "window");
    let bound = if *windows >= goal.windows { ", the most that may be taken (--max-windows)" } else { "" };
    let Some((needed, of)) = level.seconds_for(goal.half_width).zip(level.windows_for(goal.half_width)) else {
        return format!("not known at level {clients} after {taken}{bound}");
    };
    format!(
        "not reached at level {clients} after {taken}{bound}: it would take some {} s ({} of {} s)",
        significant(needed),
        counted(of as u64, "window"),
        significant(seconds / *windows as f64)
    )
}

/// A row a level; with the seconds that the goal takes where one was asked for.
pub fn precision_table(levels: &[Precision], goal: Option<PrecisionGoal>) -> Option<Table> {
    levels.iter().any(|level| level.windows > 0).then_some(())?;
    let mut columns = vec![
        Column::level(),
        Column::text("frame", "widest"),
        Column::number("half_width", "half of the interval", "%"),
        Column::number("samples", "samples", ""),
        Column::number("functions", "functions", ""),
        Column::number("windows", "windows", ""),
        Column::number("seconds", "length", "s"),
    ];
    if let Some(goal) = goal {
        let header = format!("length for {}", goal.told());
        columns.push(Column::number("seconds_needed", &header, "s"));
    }
    let note = format!(
        "Of the functions that have at least {} % of the level's CPU, the one whose 95 % interval is widest.",
        100.0 * LARGE
    );
    Some(Table {
        id: "precision",
        title: "How precisely functions are known".into(),
        columns,
        rows: levels.iter().map(|level| row(level, goal)).collect(),
        notes: vec![note],
        ..Table::default()
    })
}

fn row(level: &Precision, goal: Option<PrecisionGoal>) -> Vec<Cell> {
    let why = unknown(level);
    let missing = || Cell::Missing(why.into());
    let widest = level.widest.as_ref();
    let mut cells = vec![
        Cell::Count(level.level as u64),
        widest.map_or_else(missing, |widest| Cell::Name(widest.frame.clone())),
        Cell::figure(widest.map(|widest| 100.0 * widest.half_width), why),
        widest.and_then(|widest| widest.samples).map_or_else(missing, Cell::Count),
        if level.windows > 0 { Cell::Count(level.functions as u64) } else { missing() },
        Cell::Count(level.windows as u64),
        Cell::figure((level.windows > 0).then_some(level.seconds), why),
    ];
    cells.extend(goal.map(|goal| Cell::figure(level.seconds_for(goal.half_width), why)));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::cost::precision::Widest;

    fn level(level: usize, windows: usize, half_width: Option<f64>) -> Precision {
        let of = |half_width| Widest { frame: "exec".into(), half_width, samples: Some(700) };
        let widest = half_width.map(of);
        Precision { level, windows, seconds: 10.0 * windows as f64, functions: 3, widest }
    }

    #[test]
    fn what_is_known_is_a_line_and_what_was_asked_for_another() {
        let levels = [level(1, 3, Some(0.04)), level(64, 20, Some(0.072)), level(128, 1, None)];
        let [known] = &precision_notes(&levels, None)[..] else { panic!() };
        assert_eq!(
            known,
            "precision: functions with at least 5 % of the CPU are known to ±4.00 % at level 1 (widest: exec) and \
             ±7.20 % at level 64 (widest: exec); nothing is known of level 128: a function with at least 5 % of the \
             CPU has no interval"
        );
        let goal = PrecisionGoal { half_width: 0.05, windows: 20 };
        let [_, asked] = &precision_notes(&levels, Some(goal))[..] else { panic!() };
        assert_eq!(
            asked,
            "precision: ±5 % was asked for (--precision): reached at level 1; not reached at level 64 after 20 \
             windows, the most that may be taken (--max-windows): it would take some 415 s (42 windows of 10.0 s); \
             not known at level 128 after 1 window"
        );
    }

    #[test]
    fn without_stacks_there_is_nothing_to_say_but_to_who_asked() {
        let none = [Precision { windows: 0, functions: 0, ..level(1, 0, None) }];
        assert!(precision_notes(&none, None).is_empty() && precision_table(&none, None).is_none());
        let goal = PrecisionGoal { half_width: 0.05, windows: 20 };
        assert_eq!(precision_notes(&none, Some(goal)), ["precision: not known: no stacks were sampled"]);
    }
}
