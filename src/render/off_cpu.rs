//! What threads wait for, as a table per level and the stacks where they wait longest.

use super::model::{Cell, Column, Section, Table};
use crate::analyze::time::off_cpu::{BlockedStack, Waits};
use crate::profile::short_name;
use crate::run::OffCpu;
use crate::words::{counted, time};

/// One row: a level, what of its stacks (everything, or a focus), and its waits.
pub type Row = (usize, String, Waits);

/// Frames of a stack that are shown at most.
const FRAMES: usize = 6;

/// The section; `stacks` are those of the highest level.
pub fn waits_section(rows: &[Row], stacks: &[BlockedStack], level: usize, windows: &[&OffCpu]) -> Section {
    let mut tables = vec![waits_table(rows)];
    if !stacks.is_empty() {
        tables.push(stacks_table(stacks, level));
    }
    let (title, notes) = ("What threads wait for".into(), notes(windows));
    Section { id: "waits", title, tables, notes, ..Section::default() }
}

fn waits_table(rows: &[Row]) -> Table {
    let number = |key: &str, header: &str| Column::number(key, header, "µs/query");
    let columns = vec![
        Column::level(),
        Column::text("under", "under"),
        number("on_cpu", "on CPU"),
        number("runnable", "runnable"),
        number("lock", "locks"),
        number("disk", "disk"),
        number("sleep", "sleep"),
        number("other", "other"),
        number("client", "client"),
        number("work", "work or data"),
        Column::number("switches", "waits", "per query"),
    ];
    let micros = |nanos: f64| Cell::Figure(nanos / 1e3);
    let row = |(level, under, waits): &Row| {
        vec![
            Cell::Count(*level as u64),
            Cell::Text(under.clone()),
            Cell::figure(waits.on_cpu.map(|nanos| nanos / 1e3), "CPU time was not sampled"),
            micros(waits.runnable),
            micros(waits.lock),
            micros(waits.flush + waits.disk),
            micros(waits.sleep),
            micros(waits.other),
            micros(waits.client),
            micros(waits.work),
            Cell::Figure(waits.switches),
        ]
    };
    let notes = vec![
        "From `locks` on: blocked for that; `disk` is files and flushes. All threads of the server together, idle ones \
         too: these are not parts of the latency. Tasks of an async runtime that wait have no stack: their stage's \
         metric tells of them. From offcpu.pb.gz and profile.pb.gz of each window."
            .to_string(),
    ];
    Table { id: "waits", columns, rows: rows.iter().map(row).collect(), notes, ..Table::default() }
}

fn stacks_table(stacks: &[BlockedStack], level: usize) -> Table {
    let columns = vec![
        Column::text("kind", "for"),
        Column::number("blocked", "blocked", "µs/query"),
        Column::number("runnable", "then runnable", "µs/query"),
        Column::number("switches", "waits", "per query"),
        Column::number("threads", "threads", ""),
        Column::text("stack", "where, innermost first"),
    ];
    let row = |stack: &BlockedStack| {
        vec![
            Cell::Text(stack.name.clone()),
            Cell::Figure(stack.blocked / 1e3),
            Cell::Figure(stack.runnable / 1e3),
            Cell::Figure(stack.switches),
            Cell::Count(stack.threads as u64),
            Cell::Text(path(stack)),
        ]
    };
    let title = format!("Where threads are blocked longest at level {level}, idle ones left out");
    let about = vec![("level", Cell::Count(level as u64))];
    Table { id: "blocked_stacks", about, title, columns, rows: stacks.iter().map(row).collect(), ..Table::default() }
}

/// The innermost frames by their short names.
fn path(stack: &BlockedStack) -> String {
    if stack.frames.is_empty() {
        return "[no user frames]".into();
    }
    let shown = stack.frames.iter().take(FRAMES).map(|frame| short_name(&frame.name));
    let more = if stack.frames.len() > FRAMES { " < ..." } else { "" };
    shown.collect::<Vec<_>>().join(" < ") + more
}

/// ns off CPU of threads that ran before in the window.
fn seen(window: &OffCpu) -> u64 {
    window.report.blocked + window.report.runnable - window.report.not_followed
}

/// What the figures are based on, and what was lost.
fn notes(windows: &[&OffCpu]) -> Vec<String> {
    let sum = |of: fn(&OffCpu) -> u64| windows.iter().map(|window| of(window)).sum::<u64>();
    let waits = sum(|window| window.report.waits);
    let nanos = sum(seen).max(1) as f64;
    let complete: Option<f64> = windows.iter().map(|window| Some(window.report.complete? * seen(window) as f64)).sum();
    let percent = |part: f64, whole: f64| format!("{:.1} %", 100.0 * part / whole.max(1.0));
    let complete = complete.map_or("not measured how much".into(), |complete| percent(complete, nanos));
    let mut notes = vec![format!(
        "{waits} waits; {complete} of their time on complete stacks, {} of them followed themselves; the others' time \
         is divided as that of waits picked at random at the same place, {} of all time between several stacks.",
        percent(sum(|window| window.report.followed) as f64, waits as f64),
        percent(sum(|window| window.report.divided_among_several) as f64, nanos),
    )];
    let not_followed = sum(|window| window.report.not_followed);
    if not_followed > 0 {
        notes.push(format!(
            "Besides, {:.1} s of threads that had not run in the window until then: at which stack is not known.",
            not_followed as f64 / 1e9
        ));
    }
    let (lost, stacks) = (sum(|window| window.report.lost_waits), sum(|window| window.report.lost_stacks));
    if lost > 0 || stacks > 0 {
        let lost_time = time(sum(|window| window.report.lost_nanos) as f64);
        let lost = counted(lost, "wait");
        notes.push(format!("Lost for want of room: {lost} ({lost_time}), and the stacks of {stacks} more."));
    }
    let (walks, cost) = (sum(|window| window.report.walks), sum(|window| window.report.kernel_cpu));
    if walks > 0 {
        notes.push(format!(
            "Following {walks} stacks at switches took {} each in the kernel, {} of CPU.",
            time(cost as f64 / walks as f64),
            time(cost as f64)
        ));
    }
    notes
}
