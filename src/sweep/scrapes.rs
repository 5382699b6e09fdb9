//! What a scrape of the server's metrics costs the target, and how often that may be taken from it. Invariant: the
//! scrapes at a window's ends are always made; those inside keep to a budget of the target's CPU and of the window.

use super::Processes;
use crate::metrics::{Scrape, Scraper};
use crate::run::ScrapeCost;
use crate::target::{Role, Snapshot, difference};
use crate::words::time;
use std::time::Duration;

/// Share of one CPU's time that scrapes inside a window may take of the target's CPU.
const CPU_SHARE: f64 = 0.005;
/// Scrapes inside the window may take at most this share of its time: a slow exposition is asked for less often.
const TIME_SHARE: f64 = 0.05;
/// ns between two readings inside a window.
pub const SECOND: u64 = 1_000_000_000;
/// Scrapes that the cost is the median of; the first answers of some servers are dearer than the later ones.
const ROUNDS: usize = 3;
/// As much of the time before a scrape is looked at, for what the target uses anyway; the kernel accounts by the
/// switch, and tells of a thread that runs on only at the next tick.
const BEFORE: Duration = Duration::from_millis(30);

/// ns from one scrape inside a window to the next, by what a scrape takes.
pub fn pace(nanos: u64, cost: Option<&ScrapeCost>) -> u64 {
    let by_time = (nanos as f64 / TIME_SHARE) as u64;
    let by_cpu = cost.and_then(|cost| cost.cpu).map_or(0, |cpu| (cpu as f64 / CPU_SHARE) as u64);
    by_time.max(by_cpu).max(SECOND)
}

/// Measures a scrape before there is a load; `None`: it cannot be made, which the window will say.
pub async fn cost(scraper: &dyn Scraper, processes: &Processes) -> Option<ScrapeCost> {
    let mut found: Vec<(Scrape, Option<u64>)> = Vec::new();
    for _ in 0..ROUNDS {
        let idle = processes.watched.read();
        tokio::time::sleep(BEFORE).await;
        let before = processes.watched.read();
        let scrape = scraper.scrape().await.ok()?;
        let after = processes.watched.read();
        let cpu = processes.target.and_then(|_| beyond(idle, before, after));
        found.push((scrape, cpu));
    }
    let mut cpu: Vec<u64> = found.iter().filter_map(|(_, cpu)| *cpu).collect();
    cpu.sort_unstable();
    found.sort_by_key(|(scrape, _)| scrape.span.nanos());
    let (median, _) = &found[ROUNDS / 2];
    let (nanos, bytes) = (median.span.nanos(), median.text.len() as u64);
    Some(ScrapeCost { bytes, nanos, cpu: cpu.get(ROUNDS / 2).copied() })
}

/// ns of the target's CPU between the last two readings beyond what it used between the first two.
fn beyond(idle: Snapshot, before: Snapshot, after: Snapshot) -> Option<u64> {
    let anyway = difference(&[idle, before.clone()])?;
    let whole = difference(&[before, after])?;
    let usual = anyway.cpu(Role::Target)? as f64 * whole.span.nanos() as f64 / anyway.span.nanos().max(1) as f64;
    Some((whole.cpu(Role::Target)? as f64 - usual).max(0.0) as u64)
}

/// What the run's notes say of it.
pub fn note(cost: &ScrapeCost, window: Duration) -> String {
    let kilobytes = cost.bytes as f64 / 1e3;
    let takes = match cost.cpu {
        Some(cpu) => format!("{} of the target's CPU", time(cpu as f64)),
        None => "an unknown part of the target's CPU (which process is the target is not known)".into(),
    };
    let every = pace(cost.nanos, Some(cost));
    let when = match every.saturating_add(every / 2) < window.as_nanos() as u64 {
        true => format!("at the window's ends and every {}", time(every as f64)),
        false => "at the window's ends only".into(),
    };
    format!(
        "a scrape of the metrics ({kilobytes:.0} kB, {}) takes {takes}: they are read {when}",
        time(cost.nanos as f64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_keep_to_both_budgets_and_never_come_more_than_once_a_second() {
        let cost = |cpu| ScrapeCost { bytes: 930_000, nanos: 20_000_000, cpu };
        assert_eq!(pace(1_000_000, Some(&cost(Some(1_000_000)))), SECOND);
        assert_eq!(pace(1_000_000, Some(&cost(Some(43_000_000)))), 8_600_000_000, "0.5 % of a CPU");
        assert_eq!(pace(200_000_000, Some(&cost(Some(1_000_000)))), 4_000_000_000, "5 % of the window");
        assert_eq!(pace(1_000_000, None), SECOND);
        let said = note(&cost(Some(43_000_000)), Duration::from_secs(30));
        assert!(said.contains("43.0 ms of the target's CPU") && said.ends_with("and every 8.60 s"), "{said}");
        assert!(note(&cost(Some(43_000_000)), Duration::from_secs(10)).ends_with("ends only"));
        assert!(note(&cost(None), Duration::from_secs(10)).contains("unknown"));
    }
}
