//! Traced queries and figures over time as Chrome's trace events, which ui.perfetto.dev and chrome://tracing open.
//! Invariant: a query's slice lasts from its sending to its reading, and the slices of its places fill it; times are
//! exact to the nanosecond.
//!
//! The format: "Trace Event Format" of the Chromium project. Its times are in µs, with decimals here. A query is a
//! complete event (`X`) on a thread for its connection, within it one for each place; a connection traces one query at
//! a time, so that slices nest.

use super::axis::{Axis, title};
use super::series::series;
use crate::render::place_words;
use crate::run::{Run, Window};
use crate::wire::{Place, QueryTimeline, Sample};
use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// All windows of the run on one time axis.
///
/// # Errors
/// None that plain values can have.
pub fn chrome(run: &Run) -> Result<Vec<u8>> {
    let mut trace = Trace { axis: Axis::of(run), events: Vec::new(), processes: 0 };
    for window in &run.windows {
        trace.window(window, &title(run, window));
    }
    let (run, tool) = (run.manifest.id.as_str(), run.manifest.tool.as_str());
    let file = File { display_time_unit: "ns", other_data: About { run, tool }, trace_events: trace.events };
    Ok(serde_json::to_vec(&file)?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    display_time_unit: &'static str,
    other_data: About<'a>,
    trace_events: Vec<Event>,
}

#[derive(Serialize)]
struct About<'a> {
    run: &'a str,
    tool: &'a str,
}

/// One event; there are hundreds of thousands.
#[derive(Default, Serialize)]
struct Event {
    /// Its phase, which says what it is.
    ph: &'static str,
    pid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    name: Cow<'static, str>,
    /// µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    /// µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<serde_json::Value>,
}

struct Trace {
    axis: Axis,
    events: Vec<Event>,
    /// Processes of the trace so far: each hop of each window is one.
    processes: usize,
}

impl Trace {
    fn window(&mut self, window: &Window, title: &str) {
        let load = self.process(&format!("{title}: load"));
        for series in series(window) {
            for (slice, figure) in &series.points {
                let ts = Some(micros(self.axis.after_origin(slice.start)));
                let (name, args) = (series.name.clone().into(), Some(json!({"value": figure})));
                self.events.push(Event { ph: "C", pid: load, name, ts, args, ..Event::default() });
            }
        }
        let Some(wire) = &window.wire else { return };
        for hop in &wire.hops {
            if let Some(sample) = &hop.sample {
                let of_load = wire.is_load(&hop.hop.name);
                let name = format!("{title}: queries to the {}, one in {}", sample.hop, sample.every);
                let process = self.process(&name);
                self.hop(sample, of_load, process);
            }
        }
    }

    fn process(&mut self, name: &str) -> usize {
        self.processes += 1;
        self.called("process_name", name, self.processes, None);
        self.processes
    }

    /// The name of a process or a thread.
    fn called(&mut self, kind: &'static str, name: &str, pid: usize, tid: Option<u32>) {
        let args = Some(json!({"name": name}));
        self.events.push(Event { ph: "M", pid, tid, name: kind.into(), args, ..Event::default() });
    }

    fn hop(&mut self, sample: &Sample, of_load: bool, pid: usize) {
        let connections: BTreeSet<u32> = sample.queries.iter().map(|query| query.client).collect();
        for connection in connections {
            self.called("thread_name", &format!("connection {connection}"), pid, Some(connection));
        }
        for query in &sample.queries {
            self.query(query, of_load, pid);
        }
    }

    fn query(&mut self, query: &QueryTimeline, of_load: bool, pid: usize) {
        let mut slice = |name: &'static str, start: u64, nanos: u64| {
            let (ts, dur) = (Some(micros(start)), Some(micros(nanos)));
            let (tid, name) = (Some(query.client), name.into());
            self.events.push(Event { ph: "X", pid, tid, name, ts, dur, args: None });
        };
        let mut at = self.axis.after_origin(query.sent);
        slice(if of_load { "query" } else { "round trip" }, at, query.latency());
        for (place, nanos) in Place::ALL.into_iter().skip(1).zip(query.spent) {
            if nanos > 0 {
                slice(place_words(place, of_load), at, u64::from(nanos));
            }
            at += u64::from(nanos);
        }
    }
}

/// ns as the format's µs, so that a reader has the same ns again whether it rounds or cuts off: places that end a
/// nanosecond after their query would not be within it.
fn micros(nanos: u64) -> f64 {
    let micros = nanos as f64 / 1e3;
    if (micros * 1e3) as u64 == nanos { micros } else { micros.next_up() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_the_same_nanoseconds_again_whether_it_rounds_or_cuts_off() {
        let nudged = (0..2_000_000u64).map(|n| n * 7_919 + n % 1_000).filter(|nanos| {
            let micros = micros(*nanos);
            assert_eq!(((micros * 1e3) as u64, (micros * 1e3).round() as u64), (*nanos, *nanos));
            micros != *nanos as f64 / 1e3
        });
        assert!(nudged.count() > 0, "the plain quotient is enough");
    }
}
