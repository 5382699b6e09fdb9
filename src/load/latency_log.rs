//! `latency.hdr`: an HdrHistogram interval log (version 1.3 text, V2 compressed histograms), one entry a 50 ms slice,
//! times in seconds after the window's start. Invariant: what is read back has the counts that were written, or is
//! refused.

use super::SliceLatency;
use super::trace::{LoadTrace, empty_histogram};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use std::io::{Read, Write};
use std::time::Duration;

/// Writes the slices' histograms. Writes nothing but the head where the driver kept none.
pub fn write_latency_log(trace: &LoadTrace, mut output: impl Write) -> Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]").add_comment("latencies in ns, max in ms");
    builder.with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(&mut output, &mut serializer).context("write the latency log's head")?;
    for slice in &trace.slices {
        let Some(latency) = &slice.latency else { continue };
        let (at, length) = (Duration::from_nanos(slice.at), Duration::from_nanos(slice.nanos));
        log.write_histogram(&latency.histogram(), at, length, None)
            .map_err(|cause| anyhow::anyhow!("write the latency log at {at:?}: {cause}"))?;
    }
    Ok(())
}

/// Reads what [`write_latency_log`] wrote into a trace whose slices are there already (from `load.json`).
///
/// # Errors
/// A log that is damaged, or whose counts are not those of the trace's slices.
pub fn read_latency_log(trace: &mut LoadTrace, mut input: impl Read) -> Result<()> {
    let mut text = Vec::new();
    input.read_to_end(&mut text).context("read the latency log")?;
    let mut deserializer = Deserializer::new();
    let mut total = empty_histogram();
    let mut slices = trace.slices.iter_mut();
    for entry in IntervalLogIterator::new(&text) {
        let entry = entry.map_err(|cause| anyhow::anyhow!("the latency log is damaged: {cause:?}"))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let Some(slice) = slices.next() else { bail!("the latency log has more entries than the window slices") };
        let encoded = base64::engine::general_purpose::STANDARD
            .decode(interval.encoded_histogram())
            .context("the latency log is damaged: an entry is no base64")?;
        let histogram = deserializer
            .deserialize::<u64, _>(&mut encoded.as_slice())
            .map_err(|cause| anyhow::anyhow!("the latency log is damaged: {cause}"))?;
        ensure!(
            histogram.len() == slice.completed,
            "the latency log has {} queries in the slice at {} ns, load.json {}: they are not of the same window",
            histogram.len(),
            slice.at,
            slice.completed
        );
        total
            .add(&histogram)
            .map_err(|cause| anyhow::anyhow!("the latency log holds impossible latencies: {cause}"))?;
        slice.latency = Some(SliceLatency::of(&histogram));
    }
    trace.latency = total;
    Ok(())
}
