//! `timeline.txt`: what happened when, one or several events a line. Times become ns since the Unix epoch; recordings
//! made by hand know no other clock, and their times are only ever compared with each other.

use crate::clock::{Nanos, Span};
use std::time::{Duration, UNIX_EPOCH};

/// The events of one window's recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timeline {
    events: Vec<(Nanos, String)>,
}

impl Timeline {
    /// Reads lines `RFC3339 event; event`; lines without a time are left out.
    pub fn read(text: &str) -> Timeline {
        let mut events = Vec::new();
        for (time, line) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Some(at) = nanos(time) else { continue };
            events.extend(line.split("; ").map(|event| (at, event.trim().to_string())));
        }
        Timeline { events }
    }

    /// When an event happened whose text ends with this.
    pub fn at(&self, event: &str) -> Option<Nanos> {
        self.events.iter().find(|(_, text)| text.ends_with(event)).map(|(at, _)| *at)
    }

    /// From `NAME start` to `NAME end`.
    pub fn span(&self, name: &str) -> Option<Span> {
        Some(Span::new(self.at(&format!("{name} start"))?, self.at(&format!("{name} end"))?))
    }

    /// The number after `pid=`.
    pub fn pid(&self) -> Option<u32> {
        let texts = self.events.iter().flat_map(|(_, text)| text.split(' '));
        texts.filter_map(|word| word.strip_prefix("pid=")).find_map(|pid| pid.parse().ok())
    }
}

/// RFC 3339 in UTC, `2026-11-22T09:11:49.518Z`, to ns since the Unix epoch.
fn nanos(text: &str) -> Option<Nanos> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// ns since the Unix epoch as RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(at: Nanos) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(at)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(nanos("2026-11-22T09:11:49.518Z"), Some(1_795_338_709_518_000_000));
        assert_eq!(nanos("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500_000_000));
        for text in ["2026-11-22T09:11:49.518Z", "2024-02-29T00:00:00.000Z", "2000-03-01T12:00:00.001Z"] {
            assert_eq!(rfc3339(nanos(text).unwrap()), text);
        }
        let beyond = ["2026-18446744073709551615-01T00:00:00Z", "9999-12-31T00:00:00Z", "2026-01-01T99:00:00Z"];
        for wrong in ["yesterday", ""].into_iter().chain(beyond) {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn events_are_found_by_their_end_and_spans_by_their_name() {
        let text = "2026-11-22T09:11:19.000Z N=1 pid=22658 warmup start\n2026-11-22T09:11:50.000Z snapshot before \
                    end; dbbench \
                    start\n2026-11-22T09:12:10.414Z dbbench end; snapshot after start\nno time here\n";
        let timeline = Timeline::read(text);
        assert_eq!(timeline.pid(), Some(22_658));
        assert_eq!(timeline.span("dbbench").unwrap().seconds(), 20.414);
        assert_eq!(timeline.span("perf"), None);
    }
}
