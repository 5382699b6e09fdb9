//! Runs of pgbench scripts in a window, beside the queries that they consist of. Invariant: a transaction is counted
//! where its last answer was received, once; one that failed is not among the completed.

use super::mix::MixPlan;
use super::record::{Notes, Outcome, Record};
use super::trace::empty_histogram;
use crate::clock::Span;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The highest latency that is told apart, 1 h in ns.
const LONGEST: u64 = 3_600_000_000_000;

/// The transactions of a window: runs of scripts, each of which sends several queries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transactions {
    /// Scripts that were run to their end.
    pub completed: u64,
    /// Scripts that were ended by an error, and rolled back.
    pub failed: u64,
    /// Sum of the completed ones' latencies in ns: from the beginning of a script to its end, its sleeps included.
    pub latency_sum: u64,
    /// Their latencies in ns.
    #[serde(with = "encoded")]
    pub latency: Histogram<u64>,
    /// Per script, in the workload's order.
    pub scripts: Vec<ScriptCount>,
    /// What `:scale` was, where it was counted in `pgbench_branches`.
    #[serde(default)]
    pub counted_scale: Option<u64>,
}

/// One script's share of the transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptCount {
    /// The script's path, or its built-in name.
    pub name: String,
    /// How often it was to be chosen, against the others' weights.
    pub weight: u32,
    /// Runs to the end.
    pub completed: u64,
    /// Runs that an error ended.
    pub failed: u64,
    /// Sum of the completed ones' latencies in ns.
    pub latency_sum: u64,
}

impl Transactions {
    fn new(mix: &MixPlan) -> Self {
        let script = |script: &crate::workload::pgbench::Script| ScriptCount {
            name: script.name.clone(),
            weight: script.weight,
            completed: 0,
            failed: 0,
            latency_sum: 0,
        };
        Transactions {
            completed: 0,
            failed: 0,
            latency_sum: 0,
            latency: empty_histogram(),
            scripts: mix.mix.scripts.iter().map(script).collect(),
            counted_scale: mix.counted_scale,
        }
    }

    fn add(&mut self, record: &Record) {
        let script = &mut self.scripts[record.job()];
        if let Outcome::Error(_) = record.outcome() {
            script.failed += 1;
            self.failed += 1;
            return;
        }
        script.completed += 1;
        self.completed += 1;
        script.latency_sum += record.latency();
        self.latency_sum += record.latency();
        self.latency.record(record.latency().min(LONGEST)).expect("the histogram holds up to LONGEST");
    }
}

/// Cuts the notes to `span`.
pub fn transactions(span: Span, notes: &[Notes], mix: &MixPlan) -> Transactions {
    let mut found = Transactions::new(mix);
    let records = notes.iter().flat_map(|thread| thread.transactions.iter());
    records.filter(|record| span.contains(record.end)).for_each(|record| found.add(record));
    found
}

/// A histogram as text: HdrHistogram's V2, deflated, in base64, as in `latency.hdr`.
mod encoded {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
    use serde::{Deserialize, Deserializer as From, Serializer as Into, de, ser};

    pub fn serialize<S: Into>(histogram: &Histogram<u64>, into: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(histogram, &mut bytes).map_err(ser::Error::custom)?;
        into.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: From<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(from)?).map_err(de::Error::custom)?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(de::Error::custom)?;
        let mut histogram = super::empty_histogram();
        histogram.add(&read).map_err(de::Error::custom)?;
        Ok(histogram)
    }
}
