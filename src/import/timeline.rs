//! `timeline.txt`: what happened when, one or several events a line. Times become ns since the Unix epoch; recordings
//! made by hand know no other clock, and their times are only ever compared with each other.

use crate::clock::{Nanos, Span};

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
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute): (u64, u64) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let second = time.next()?;
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let fraction: u64 = format!("{fraction:0<9.9}").parse().ok()?;
    // Days since 1970-01-01 in the proleptic Gregorian calendar, with years that start in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 719_469;
    let seconds = u64::try_from(days).ok()? * 86_400 + hour * 3_600 + minute * 60 + second.parse::<u64>().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}

/// ns since the Unix epoch as RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(at: Nanos) -> String {
    let (seconds, millis) = (at / 1_000_000_000, at / 1_000_000 % 1_000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The inverse of the above: days since 0000-03-01, by eras of 400 years.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let m = (5 * doy + 2) / 153;
    let (month, day) = (if m < 10 { m + 3 } else { m - 9 }, doy - (153 * m + 2) / 5 + 1);
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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
        assert_eq!(nanos("yesterday"), None);
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
