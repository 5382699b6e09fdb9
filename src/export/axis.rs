//! The time axis that formats with time share. Invariant: all windows of a run lie on it as they lay on the clock, so
//! those of one sweep follow one another.

use crate::clock::Nanos;
use crate::run::{Run, Window};

/// Where a run's windows lie.
pub struct Axis {
    /// The first instant of any window.
    origin: Nanos,
}

impl Axis {
    /// The axis that begins with the run's first window.
    pub fn of(run: &Run) -> Axis {
        let begins = |window: &Window| window.facts.span.start.min(window.profile_span().start);
        Axis { origin: run.windows.iter().map(begins).min().unwrap_or(0) }
    }

    /// ns after the axis' beginning; what lies before it (a query that was sent before the window) is put there.
    pub fn after_origin(&self, at: Nanos) -> u64 {
        at.saturating_sub(self.origin)
    }

    /// The wall clock's RFC 3339 time at the beginning, as far as the window that begins there tells it (in seconds).
    pub fn wall<'r>(&self, run: &'r Run) -> Option<&'r str> {
        run.windows.iter().min_by_key(|window| window.facts.span.start).map(|window| window.facts.wall.as_str())
    }
}

/// What a window is called among others: its level, and its replicate where there are several.
pub fn title(run: &Run, window: &Window) -> String {
    let id = window.id();
    let of_level = run.windows.iter().filter(|other| other.id().level == id.level).count();
    let replicate = if of_level > 1 { format!(", replicate {}", id.replicate) } else { String::new() };
    format!("level {}{replicate}", id.level)
}
