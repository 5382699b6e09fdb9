//! What the machine itself took from the measurement. Invariant: shares are of the time of all its CPUs in the
//! windows where that was read.

use crate::run::Run;

/// The time that the hypervisor gave to others, over all windows and in the worst one.
pub fn machine_notes(run: &Run) -> Vec<String> {
    let mut windows = Vec::new();
    for window in &run.windows {
        let machine = window.scheduler.as_ref().and_then(|scheduler| scheduler.machine.as_ref());
        windows.extend(machine.map(|m| (m.steal, m.busy + m.idle + m.steal, window.id())));
    }
    let percent = |steal: u64, all: u64| 100.0 * steal as f64 / all as f64;
    windows.retain(|(_, all, _)| *all > 0);
    let (steal, all) = windows.iter().fold((0, 0), |sum, window| (sum.0 + window.0, sum.1 + window.1));
    let worst = windows.iter().max_by(|a, b| percent(a.0, a.1).total_cmp(&percent(b.0, b.1)));
    let note = match worst {
        Some((most, of, id)) => format!(
            "steal: {:.2} % of the CPUs' time in {} of {} windows, at most {:.2} % ({})",
            percent(steal, all),
            windows.len(),
            run.windows.len(),
            percent(*most, *of),
            id.directory()
        ),
        None => "steal: not measured: /proc/stat was not read".into(),
    };
    vec![note]
}
