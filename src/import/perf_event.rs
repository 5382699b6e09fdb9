//! Events as perf names them: what their periods count, and which of them are one. Invariant: two events are taken
//! together only where no sample can be of both.

use crate::profile::Column;
use std::collections::BTreeMap;

/// The events that are kept, and all others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// What they are called together.
    pub event: String,
    pub kept: Vec<String>,
    /// Samples by event.
    pub left_out: BTreeMap<String, u64>,
}

/// Chooses among the events and their numbers of samples: those of time, else those of cycles, else the most
/// frequent. A CPU with two kinds of cores has an event of each kind (`cpu_core/cycles/` and `cpu_atom/cycles/`),
/// which are one. `None`: no events.
pub(super) fn chosen(events: &BTreeMap<String, u64>) -> Option<Chosen> {
    let mut groups: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for (event, count) in events {
        let group = groups.entry(of_all_cores(event)).or_default();
        group.0 += count;
        group.1.push(event.clone());
    }
    let rank = |name: &str| match column(name).unit.as_str() {
        "nanoseconds" => 2,
        "cycles" => 1,
        _ => 0,
    };
    let (name, (_, kept)) = groups.into_iter().max_by_key(|(_, (count, kept))| (rank(&kept[0]), *count))?;
    let left_out = events.iter().filter(|(event, _)| !kept.contains(event));
    let left_out = left_out.map(|(event, count)| (event.clone(), *count)).collect();
    let event = if kept.len() == 1 { kept[0].clone() } else { name };
    Some(Chosen { event, kept, left_out })
}

/// `cpu_core/cycles/P` as `cycles:P`. The PMU `cpu` is that of all cores, so `cpu/cycles/` and `cycles` are two
/// events, of which a recording can have both.
fn of_all_cores(event: &str) -> String {
    match parts(event) {
        (Some(pmu), name, "") if pmu != "cpu" => name.to_string(),
        (Some(pmu), name, modifiers) if pmu != "cpu" => format!("{name}:{modifiers}"),
        _ => event.to_string(),
    }
}

/// PMU, event and modifiers of `PMU/EVENT/MODIFIERS` or `EVENT:MODIFIERS`. A tracepoint's name has a colon too
/// (`sched:sched_switch`).
fn parts(event: &str) -> (Option<&str>, &str, &str) {
    if let Some((pmu, rest)) = event.split_once('/')
        && let Some((name, modifiers)) = rest.rsplit_once('/')
        && !pmu.is_empty()
    {
        return (Some(pmu), name, modifiers.trim_start_matches(':'));
    }
    match event.rsplit_once(':') {
        Some((name, modifiers)) if modifiers.bytes().all(|b| b"ukhGHpPSDWeIbR".contains(&b)) => (None, name, modifiers),
        _ => (None, event, ""),
    }
}

/// What an event's period counts.
pub(super) fn column(event: &str) -> Column {
    let (kind, unit) = match parts(event).1 {
        "cpu-clock" | "task-clock" => ("cpu", "nanoseconds"),
        "cycles" | "cpu-cycles" | "cpu_cycles" | "cycles_core" => ("cycles", "cycles"),
        name => (name, "events"),
    };
    Column { kind: kind.into(), unit: unit.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[(&str, u64)]) -> Chosen {
        chosen(&events.iter().map(|(event, count)| (event.to_string(), *count)).collect()).unwrap()
    }

    #[test]
    fn the_halves_of_an_event_on_two_kinds_of_cores_are_one() {
        let found = of(&[("cpu_core/cycles/P", 1), ("cpu_atom/cycles/P", 3), ("cpu_core/instructions/P", 9)]);
        assert_eq!((found.event.as_str(), found.kept.len()), ("cycles:P", 2));
        assert_eq!(found.left_out, [("cpu_core/instructions/P".to_string(), 9)].into());
        let arm = of(&[("armv8_cortex_a53/cpu_cycles/", 1), ("armv8_cortex_a72/cpu_cycles/", 3)]);
        assert_eq!((arm.event.as_str(), arm.kept.len()), ("cpu_cycles", 2));
        let both = of(&[("cpu/cycles/", 1), ("cycles", 3)]);
        assert_eq!((both.event.as_str(), both.kept.len()), ("cycles", 1), "all cores twice are not added");
    }

    #[test]
    fn the_column_is_told_by_the_event_and_not_by_its_pmu() {
        for (event, kind, unit) in [
            ("cpu-clock:u", "cpu", "nanoseconds"),
            ("cycles:ppp", "cycles", "cycles"),
            ("cpu/cycles/u", "cycles", "cycles"),
            ("cpu_core/cycles/:u", "cycles", "cycles"),
            ("cpu_core/instructions/u", "instructions", "events"),
            ("cpu/event=0x3c,umask=0x1/", "event=0x3c,umask=0x1", "events"),
            ("sched:sched_switch", "sched:sched_switch", "events"),
            ("*stalls*", "*stalls*", "events"),
        ] {
            assert_eq!(column(event), Column { kind: kind.into(), unit: unit.into() }, "{event}");
        }
    }
}
