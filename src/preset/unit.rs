//! Units of expressions. Invariant: only times are converted, by a whole factor that the code
//! knows; every other unit is a name that is shown as it was written.

use serde::Deserialize;
use std::fmt;

/// What a value is measured in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Unit {
    /// A unit of time; written `s`, `ms`, `us` (or `µs`) or `ns`.
    Time(Time),
    /// `ratio`, or what is counted: `calls`, `batches/s`.
    Named(String),
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Time {
    /// `s`
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`; a file may also have `µs`.
    Microseconds,
    /// `ns`
    Nanoseconds,
}

/// How a value gets from one unit of time to another. Two cases, so that the factor is a whole number in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conversion {
    /// The value times this factor, which is 1 between equal units.
    Multiply(f64),
    /// The value over this factor.
    Divide(f64),
}

impl Time {
    const ALL: [Time; 4] = [Time::Seconds, Time::Milliseconds, Time::Microseconds, Time::Nanoseconds];

    fn name(self) -> &'static str {
        match self {
            Time::Seconds => "s",
            Time::Milliseconds => "ms",
            Time::Microseconds => "us",
            Time::Nanoseconds => "ns",
        }
    }

    fn nanoseconds(self) -> f64 {
        match self {
            Time::Seconds => 1e9,
            Time::Milliseconds => 1e6,
            Time::Microseconds => 1e3,
            Time::Nanoseconds => 1.0,
        }
    }

    fn named(name: &str) -> Option<Time> {
        let name = if name == "µs" { "us" } else { name };
        Time::ALL.into_iter().find(|unit| unit.name() == name)
    }

    /// From this unit to the other.
    pub fn to(self, other: Time) -> Conversion {
        let (from, to) = (self.nanoseconds(), other.nanoseconds());
        if from >= to { Conversion::Multiply(from / to) } else { Conversion::Divide(to / from) }
    }
}

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(name: String) -> Result<Time, String> {
        Time::named(&name).ok_or_else(|| format!("`{name}` is no unit of time; write s, ms, us or ns"))
    }
}

impl From<String> for Unit {
    fn from(name: String) -> Unit {
        Time::named(&name).map_or(Unit::Named(name), Unit::Time)
    }
}

impl Unit {
    /// The unit of time, if it is one.
    pub fn time(&self) -> Option<Time> {
        match self {
            Unit::Time(time) => Some(*time),
            Unit::Named(_) => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Time(time) => time.name(),
            Unit::Named(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_by_whole_factors_and_other_units_keep_their_names() {
        assert_eq!(Time::Seconds.to(Time::Microseconds), Conversion::Multiply(1e6));
        assert_eq!(Time::Nanoseconds.to(Time::Microseconds), Conversion::Divide(1e3));
        assert_eq!(Time::Milliseconds.to(Time::Milliseconds), Conversion::Multiply(1.0));
        assert_eq!(Unit::from("µs".to_string()), Unit::Time(Time::Microseconds));
        assert_eq!(Unit::from("batches/s".to_string()).to_string(), "batches/s");
        assert!(
            Time::try_from("sec".to_string()).unwrap_err().contains("`sec` is no unit of time; write s, ms, us or ns")
        );
    }
}
