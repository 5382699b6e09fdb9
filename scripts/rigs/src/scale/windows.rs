//! Memory and time by the length of a window, from constructed samples and latencies: as many samples a second as are
//! ever taken, of a thousand distinct stacks.

use super::{Cost, Measured, Part, memory};
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use std::time::Instant;
use wireprof::clock::Span;
use wireprof::load::SliceLatency;
use wireprof::profile::on_cpu_columns;
use wireprof::sample::perf::TOTAL_RATE;
use wireprof::sample::{Address, RawSample, RawSamples, RawStack, RawThread};
use wireprof::symbol::{Options, Symbolizer, to_profile};

pub const PART: Part = Part {
    name: "windows",
    unit: "seconds",
    sizes: &[10, 60, 600],
    costs: &[
        Cost { name: "rows", what: "samples as taken, 8,000 a second: MB", most: 1.0 },
        Cost { name: "stacks", what: "their 1,000 distinct stacks: MB", most: 0.0 },
        Cost { name: "named", what: "samples named: MB more", most: 1.0 },
        Cost { name: "seconds", what: "samples named: s", most: 1.0 },
        Cost { name: "slices", what: "latencies of 10,000 queries a second, in slices: MB", most: 1.0 },
    ],
    measure,
};

const STACKS: usize = 1_000;
/// Queries in 50 ms.
const QUERIES: u64 = 500;

fn measure(seconds: u64) -> Measured {
    let begin = memory::status("RssAnon")?;
    let stack = |number: usize| {
        let addresses = (0..40).map(|depth| Address { module: None, at: (number * 64 + depth) as u64 });
        RawStack { addresses: addresses.collect(), incomplete: None }
    };
    let thread = RawThread { process: "p".into(), pid: 1, thread: "t".into(), tid: 1 };
    let mut raw = RawSamples { threads: vec![thread], ..RawSamples::default() };
    raw.stacks = (0..STACKS).map(stack).collect();
    let stacks = memory::status("RssAnon")?;
    let nanos = 1_000_000_000 / TOTAL_RATE;
    for number in 0..seconds * TOTAL_RATE {
        let stack = (number.wrapping_mul(2_654_435_761) % STACKS as u64) as u32;
        raw.samples.push(RawSample { at: number * nanos, thread: 0, stack, weight: nanos, late: false });
    }
    let rows = memory::status("RssAnon")?;
    let began = Instant::now();
    let window = Span::new(0, u64::MAX);
    let (profile, _) = to_profile(&raw, &mut Symbolizer::new(Options::default()), window, on_cpu_columns());
    let named_in = began.elapsed().as_secs_f64();
    ensure!(profile.samples.len() == raw.samples.len(), "every sample is kept");
    let named = memory::status("RssAnon")?;
    let slices = slices(seconds * 20)?;
    let bytes: usize = slices.iter().map(|slice| slice.bytes() + size_of::<SliceLatency>()).sum();
    let megabytes = |from: f64, to: f64| (to - from).max(4_096.0) / 1e6;
    Ok(vec![
        ("rows", megabytes(stacks, rows)),
        ("stacks", megabytes(begin, stacks)),
        ("named", megabytes(rows, named)),
        ("seconds", named_in),
        ("slices", bytes as f64 / 1e6),
    ])
}

/// Latencies of 1 to 100 ms, as they are kept for each slice.
fn slices(count: u64) -> Result<Vec<SliceLatency>> {
    let slice = |number: u64| -> Result<SliceLatency> {
        let mut histogram = Histogram::new_with_bounds(1_000, 100_000_000, 3)?;
        for query in 0..QUERIES {
            let mixed = (number * QUERIES + query).wrapping_mul(2_654_435_761) % 99_000_000;
            histogram.record(1_000_000 + mixed)?;
        }
        Ok(SliceLatency::of(&histogram))
    };
    (0..count).map(slice).collect()
}
