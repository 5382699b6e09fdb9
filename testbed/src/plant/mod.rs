//! Known bottlenecks, planted on request. Invariant: each plant measures what it really did (calls, CPU, wait) and
//! publishes that beside what was asked, because findings are scored against the former.

mod awaited;
mod database;
mod delay;
mod path;
mod planted;
mod spin;
mod tally;
mod waits;
mod work;
mod writer;

use std::str::FromStr;
use std::time::Duration;

pub use awaited::Awaited;
pub use planted::Planted;

/// What `--plant` accepts.
#[derive(Clone, Debug, PartialEq)]
pub enum Plant {
    /// CPU in a function of its own, once a call of the place.
    Cpu { place: PlantPoint, duration: Duration },
    /// One mutex for all peeks, held while using CPU for `duration`.
    Lock { duration: Duration },
    /// The oracle's query is answered `duration` later.
    OracleDelay { duration: Duration },
    /// The statement that reads the oracle's timestamp takes `duration` longer inside the database.
    Database { duration: Duration },
    /// The way to the oracle's database and back takes `duration` longer.
    Path { duration: Duration },
    /// The oracle's connection pool has this size.
    PoolSize { connections: usize },
    /// So many reads of the oracle may be in flight at once.
    Batches { in_flight: usize },
    /// Every peek passes through the one coordinator thread, which uses CPU for `duration` each time.
    Coordinator { duration: Duration },
    /// Every peek makes this many allocations of 16 to 4,096 bytes, and frees them in the order made.
    Allocate { count: usize },
    /// Sessions opened and closed, so many a second.
    Churn { per_second: u32 },
    /// Every peek blocks its worker thread for `duration` without using CPU.
    Starve { duration: Duration },
    /// Read timestamps are kept and handed out again for `duration`: faster, and wrong, because reads miss writes that
    /// were acknowledged meanwhile.
    StaleReads { duration: Duration },
    /// Sessions are polled below this many bytes of stack.
    DeepStack { bytes: usize },
    /// The server uses its database for something else too: on connections of their own it commits so many rows a
    /// second.
    Writer { per_second: u32 },
    /// `/metrics` uses CPU for `duration` each time that it is asked.
    Metrics { duration: Duration },
    /// Every peek waits for something besides; what it waits for takes `duration`.
    Wait { awaited: Awaited, duration: Duration },
}

/// Where a CPU plant works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantPoint {
    /// In `PeekClient::try_frontend_peek_cached`, once a peek.
    Peek,
    /// In `PostgresTimestampOracle::read_ts`, once a batch.
    Oracle,
    /// Where rows are encoded for the wire, after the peek, once an answer with rows.
    Outside,
}

const KINDS: &str = "cpu:peek=DURATION, cpu:oracle=DURATION, cpu:outside=DURATION, lock=DURATION, \
                     oracle-delay=DURATION, database=DURATION, path=DURATION, pool-size=N, batches=N, \
                     coordinator=DURATION, allocate=COUNT, churn=PER_SECOND, starve=DURATION, stale-reads=DURATION, \
                     deep-stack=SIZE, writer=PER_SECOND, metrics=DURATION";

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PlantError {
    #[error("unknown plant {name:?}; the plants are {KINDS}, {}", Awaited::KINDS)]
    Unknown { name: String },
    #[error("{name} needs a value, as in {name}={example}")]
    NoValue { name: String, example: &'static str },
    #[error("{value:?} is not a duration; write a number and ns, us, ms or s, as in 20us")]
    Duration { value: String },
    #[error("{value:?} is not a whole number from 1 to {most}")]
    Count { value: String, most: u32 },
    #[error("{value:?} is not a size from 16kB to 1MB; write a number and B, k, kB, KiB, M, MB or MiB, as in 500kB")]
    Size { value: String },
}

impl Plant {
    /// The name without its size: the value of the label `plant` on the plant's metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Plant::Cpu { place: PlantPoint::Peek, .. } => "cpu:peek",
            Plant::Cpu { place: PlantPoint::Oracle, .. } => "cpu:oracle",
            Plant::Cpu { place: PlantPoint::Outside, .. } => "cpu:outside",
            Plant::Lock { .. } => "lock",
            Plant::OracleDelay { .. } => "oracle-delay",
            Plant::Database { .. } => "database",
            Plant::Path { .. } => "path",
            Plant::PoolSize { .. } => "pool-size",
            Plant::Batches { .. } => "batches",
            Plant::Coordinator { .. } => "coordinator",
            Plant::Allocate { .. } => "allocate",
            Plant::Churn { .. } => "churn",
            Plant::Starve { .. } => "starve",
            Plant::StaleReads { .. } => "stale-reads",
            Plant::DeepStack { .. } => "deep-stack",
            Plant::Writer { .. } => "writer",
            Plant::Metrics { .. } => "metrics",
            Plant::Wait { awaited, .. } => awaited.name(),
        }
    }
}

impl FromStr for Plant {
    type Err = PlantError;

    fn from_str(text: &str) -> Result<Self, PlantError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let duration = || parse_duration(required(name, value, "20us")?);
        let cpu = |place| Ok(Plant::Cpu { place, duration: duration()? });
        let count = |most| parse_count(required(name, value, "4")?, most);
        match name {
            "cpu:peek" => cpu(PlantPoint::Peek),
            "cpu:oracle" => cpu(PlantPoint::Oracle),
            "cpu:outside" => cpu(PlantPoint::Outside),
            "lock" | "lock:peek" => Ok(Plant::Lock { duration: duration()? }),
            "oracle-delay" => Ok(Plant::OracleDelay { duration: duration()? }),
            "database" => Ok(Plant::Database { duration: duration()? }),
            "path" => Ok(Plant::Path { duration: duration()? }),
            "batches" => Ok(Plant::Batches { in_flight: count(200)? as usize }),
            "pool-size" => Ok(Plant::PoolSize { connections: count(200)? as usize }),
            "coordinator" => Ok(Plant::Coordinator { duration: duration()? }),
            "allocate" => Ok(Plant::Allocate { count: count(1_000_000)? as usize }),
            "churn" => Ok(Plant::Churn { per_second: count(1_000)? }),
            "writer" => Ok(Plant::Writer { per_second: count(1_000)? }),
            "metrics" => Ok(Plant::Metrics { duration: duration()? }),
            "starve" => Ok(Plant::Starve { duration: duration()? }),
            "stale-reads" => Ok(Plant::StaleReads { duration: duration()? }),
            "deep-stack" => Ok(Plant::DeepStack { bytes: parse_size(required(name, value, "500kB")?)? }),
            _ => match Awaited::parse(name)? {
                Some(awaited) => Ok(Plant::Wait { awaited, duration: duration()? }),
                None => Err(PlantError::Unknown { name: name.to_owned() }),
            },
        }
    }
}

fn required<'a>(name: &str, value: Option<&'a str>, example: &'static str) -> Result<&'a str, PlantError> {
    value.filter(|value| !value.is_empty()).ok_or(PlantError::NoValue { name: name.to_owned(), example })
}

fn parse_duration(value: &str) -> Result<Duration, PlantError> {
    let wrong = || PlantError::Duration { value: value.to_owned() };
    let unit_at = value.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = value.split_at(unit_at);
    let nanos = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let total = number * nanos;
    if !(total.is_finite() && (1.0..=60e9).contains(&total)) {
        return Err(wrong());
    }
    Ok(Duration::from_nanos(total.round() as u64))
}

fn parse_count(value: &str, most: u32) -> Result<u32, PlantError> {
    let count = value.parse::<u32>().ok().filter(|count| (1..=most).contains(count));
    count.ok_or(PlantError::Count { value: value.to_owned(), most })
}

/// Bytes, from 16,000 to 1,048,576.
fn parse_size(value: &str) -> Result<usize, PlantError> {
    let wrong = || PlantError::Size { value: value.to_owned() };
    let unit_at = value.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = value.split_at(unit_at);
    let bytes = match unit {
        "B" => 1.0,
        "k" | "kB" => 1e3,
        "KiB" => 1024.0,
        "M" | "MB" => 1e6,
        "MiB" => 1_048_576.0,
        _ => return Err(wrong()),
    };
    let total = number.parse::<f64>().map_err(|_| wrong())? * bytes;
    if (16e3..=1_048_576.0).contains(&total) { Ok(total.round() as usize) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plants_are_read_with_their_sizes() {
        let duration = Duration::from_micros(20);
        assert_eq!("cpu:peek=20us".parse(), Ok(Plant::Cpu { place: PlantPoint::Peek, duration }));
        assert_eq!("cpu:oracle=0.02ms".parse(), Ok(Plant::Cpu { place: PlantPoint::Oracle, duration }));
        assert_eq!("lock:peek=20000ns".parse(), Ok(Plant::Lock { duration }));
        assert_eq!("lock=20us".parse(), Ok(Plant::Lock { duration }));
        assert_eq!("database=20us".parse(), Ok(Plant::Database { duration }));
        assert_eq!("path=20us".parse(), Ok(Plant::Path { duration }));
        assert_eq!("writer=10".parse(), Ok(Plant::Writer { per_second: 10 }));
        assert_eq!("metrics=20us".parse(), Ok(Plant::Metrics { duration }));
        assert_eq!("batches=1".parse(), Ok(Plant::Batches { in_flight: 1 }));
        assert_eq!("pool-size=2".parse(), Ok(Plant::PoolSize { connections: 2 }));
        for text in ["500k", "500kB", "0.5MB", "500000B"] {
            assert_eq!(format!("deep-stack={text}").parse(), Ok(Plant::DeepStack { bytes: 500_000 }));
        }
        assert_eq!("deep-stack=1MiB".parse(), Ok(Plant::DeepStack { bytes: 1 << 20 }));
    }

    #[test]
    fn an_unknown_plant_is_refused_by_name_with_the_list_of_those_that_exist() {
        let error = "cpu:nowhere=20us".parse::<Plant>().unwrap_err();
        assert_eq!(error, PlantError::Unknown { name: "cpu:nowhere".to_owned() });
        let text = error.to_string();
        assert!(text.contains("cpu:nowhere") && text.contains("oracle-delay=DURATION"), "{text}");
    }

    #[test]
    fn sizes_without_a_unit_or_out_of_range_are_refused() {
        for text in ["cpu:peek=20", "cpu:peek=0us", "lock=1h", "oracle-delay=-1ms", "starve=100s"] {
            assert!(matches!(text.parse::<Plant>(), Err(PlantError::Duration { .. })), "{text}");
        }
        for text in ["pool-size=0", "pool-size=201", "batches=0", "churn=-1", "allocate=many"] {
            assert!(matches!(text.parse::<Plant>(), Err(PlantError::Count { .. })), "{text}");
        }
        for text in ["deep-stack=500", "deep-stack=1B", "deep-stack=1.1MB", "deep-stack=1G", "deep-stack=-1k"] {
            assert!(matches!(text.parse::<Plant>(), Err(PlantError::Size { .. })), "{text}");
        }
        assert!(matches!("lock".parse::<Plant>(), Err(PlantError::NoValue { .. })));
    }
}
