//! The log of latencies. Invariant: what is read back has the counts that load.json has, or is refused.

use crate::build;
use crate::clock::Span;
use crate::feed::Feed;
use crate::load::{LoadTrace, SLICE, Slice, read_latency_log, write_latency_log};
use base64::Engine;
use std::io::Write;

fn trace(completed: [u64; 2]) -> LoadTrace {
    let slice = |at: u64, completed| Slice { at: at * SLICE, nanos: SLICE, completed, latency_sum: 0, latency: None };
    let slices = vec![slice(0, completed[0]), slice(1, completed[1])];
    LoadTrace { slices, ..build::load(1, Span::new(0, 2 * SLICE), completed[0] + completed[1], 1_000) }
}

/// Any bytes as a log; or any bytes as a histogram in one, packed as HdrHistogram packs it.
pub fn log(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let (what, counts) = (feed.byte(), [u64::from(feed.byte()), u64::from(feed.byte())]);
    let log = match what & 3 {
        0 => feed.0.to_vec(),
        1 => entry(&packed(feed.0)),
        2 => entry(feed.0),
        _ => entry(&histogram(&mut feed)),
    };
    let mut read = trace(counts);
    if read_latency_log(&mut read, &log[..]).is_err() {
        return;
    }
    let all: u64 = read.slices.iter().filter_map(|slice| slice.latency.as_ref()).map(|latency| latency.len()).sum();
    assert_eq!(read.latency.len(), all, "the window has its slices' counts");
    let mut written = Vec::new();
    write_latency_log(&read, &mut written).expect("what was read is written");
    let mut again = trace(counts);
    read_latency_log(&mut again, &written[..]).expect("what was written is read");
    assert_eq!(again.latency.len(), read.latency.len());
    let kept = |of: &LoadTrace| of.slices.iter().map(|slice| slice.latency.clone()).collect::<Vec<_>>();
    assert_eq!(kept(&again), kept(&read));
}

/// A log of one entry.
fn entry(histogram: &[u8]) -> Vec<u8> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(histogram);
    format!("#[Histogram log format version 1.3]\n0.000,0.050,1.000,{encoded}\n").into_bytes()
}

/// A V2 histogram (its cookie, length, normalizing index, digits, lowest, highest, ratio; counts), of any fields.
fn histogram(feed: &mut Feed) -> Vec<u8> {
    let (digits, lowest, highest) =
        (u32::from(feed.byte() % 7), u64::from(feed.byte()), u64::from(feed.word()) << (feed.byte() % 33));
    let counts = feed.0;
    let head = [&0x1c84_9303_u32.to_be_bytes()[..], &(counts.len() as u32).to_be_bytes(), &0u32.to_be_bytes()].concat();
    let fields =
        [&digits.to_be_bytes()[..], &lowest.to_be_bytes(), &highest.to_be_bytes(), &1f64.to_be_bytes()].concat();
    packed(&[&head, &fields, counts].concat())
}

/// Packed by zlib, behind the cookie and the length of V2's compressed form.
fn packed(plain: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(plain).expect("a vector");
    let body = zlib.finish().expect("a vector");
    [&0x1c84_9304_u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
}
