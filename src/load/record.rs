//! What a load thread notes down: one record a completion, a mark every 10 ms. Invariant: noting allocates at most once
//! in 64 Ki completions and never copies what was noted.

use crate::clock::Nanos;

/// Records a chunk holds.
const CHUNK: usize = 65_536;

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this many rows.
    Rows(u32),
    /// With another number of rows than expected.
    WrongRows(u32),
    /// With the error of this index in [`Notes::errors`].
    Error(u32),
}

/// One completion in 24 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub end: Nanos,
    /// Latency in ns in the lower 48 bits (78 hours), the job above.
    latency_and_job: u64,
    /// ns from the event loop's wake to the handling, at most 4.2 s.
    pub delay: u32,
    /// Rows or error index in the lower 30 bits, the kind above.
    outcome: u32,
}

const LATENCY_BITS: u32 = 48;
const OUTCOME_BITS: u32 = 30;
const OUTCOME_MASK: u32 = (1 << OUTCOME_BITS) - 1;

impl Record {
    #[inline]
    pub fn new(end: Nanos, latency: u64, job: u16, delay: u64, outcome: Outcome) -> Self {
        let (kind, value) = match outcome {
            Outcome::Rows(rows) => (0, rows),
            Outcome::WrongRows(rows) => (1, rows),
            Outcome::Error(index) => (2, index),
        };
        Record {
            end,
            latency_and_job: latency.min((1 << LATENCY_BITS) - 1) | u64::from(job) << LATENCY_BITS,
            delay: delay.min(u64::from(u32::MAX)) as u32,
            outcome: kind << OUTCOME_BITS | value.min(OUTCOME_MASK),
        }
    }

    pub fn latency(&self) -> u64 {
        self.latency_and_job & ((1 << LATENCY_BITS) - 1)
    }

    pub fn job(&self) -> usize {
        (self.latency_and_job >> LATENCY_BITS) as usize
    }

    pub fn outcome(&self) -> Outcome {
        let value = self.outcome & OUTCOME_MASK;
        match self.outcome >> OUTCOME_BITS {
            0 => Outcome::Rows(value),
            1 => Outcome::WrongRows(value),
            _ => Outcome::Error(value),
        }
    }
}

/// A reading of the thread's own counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: Nanos,
    /// ns on CPU since the thread's birth.
    pub cpu: Nanos,
    /// Wakes of the event loop so far.
    pub wakes: u64,
}

/// A connection that was lost under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub at: Nanos,
    pub sqlstate: String,
    pub message: String,
}

/// Records in the order in which they were noted.
#[derive(Debug, Default)]
pub struct Records {
    chunks: Vec<Vec<Record>>,
}

impl Records {
    #[inline]
    pub fn push(&mut self, record: Record) {
        if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(record);
        } else {
            self.grow(record);
        }
    }

    #[cold]
    fn grow(&mut self, record: Record) {
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.push(record);
        self.chunks.push(chunk);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.chunks.iter().flatten()
    }
}

/// All that a thread noted.
#[derive(Debug, Default)]
pub struct Notes {
    queries: Records,
    /// Runs of scripts: an error's index means nothing.
    pub transactions: Records,
    pub marks: Vec<Mark>,
    pub losses: Vec<Loss>,
    /// SQLSTATE and message, each kind once.
    pub errors: Vec<(String, String)>,
}

/// Kinds of errors that are told apart by their message; beyond that by SQLSTATE only.
const ERROR_KINDS: usize = 32;

impl Notes {
    #[inline]
    pub fn record(&mut self, record: Record) {
        self.queries.push(record);
    }

    /// Index of a kind of error; messages that differ from query to query are counted under the first one.
    #[cold]
    pub fn error_kind(&mut self, sqlstate: String, message: String) -> u32 {
        let full = self.errors.len() >= ERROR_KINDS;
        let same = |(state, text): &(String, String)| *state == sqlstate && (full || *text == message);
        let index = self.errors.iter().position(same).unwrap_or_else(|| {
            self.errors.push((sqlstate, message));
            self.errors.len() - 1
        });
        index as u32
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.queries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_24_bytes_and_keeps_what_it_was_given() {
        assert_eq!(size_of::<Record>(), 24);
        for outcome in [Outcome::Rows(7), Outcome::WrongRows(0), Outcome::Error(31)] {
            let record = Record::new(u64::MAX, 3_600_000_000_000, 513, 9, outcome);
            assert_eq!((record.end, record.latency(), record.job()), (u64::MAX, 3_600_000_000_000, 513));
            assert_eq!((record.delay, record.outcome()), (9, outcome));
        }
    }

    #[test]
    fn notes_keep_their_order_over_chunks() {
        let mut notes = Notes::default();
        let count = CHUNK as u64 * 2 + 3;
        (0..count).for_each(|end| notes.record(Record::new(end, 1, 0, 0, Outcome::Rows(1))));
        assert!(notes.records().map(|r| r.end).eq(0..count));
    }

    #[test]
    fn messages_without_number_are_counted_by_sqlstate() {
        let mut notes = Notes::default();
        (0..1000).for_each(|i| {
            notes.error_kind("40001".into(), format!("row {i}"));
        });
        assert_eq!(notes.errors.len(), ERROR_KINDS);
        assert_eq!(notes.error_kind("40001".into(), "row 5".into()), 0);
        assert_eq!(notes.error_kind("40002".into(), "other".into()) as usize, ERROR_KINDS);
    }
}
