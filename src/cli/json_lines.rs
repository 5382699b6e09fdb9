//! Events of a measurement as JSON on standard output, an object a line, while it runs (`docs/json-lines.md`).
//! Invariant: the first line is the start and the last one the end, however the measurement ends; times are in seconds.

use super::{Outcome, exit, output};
use crate::analyze::judge::summary::{LevelSummary, of_window};
use crate::check::Status;
use crate::connection::without_secrets;
use crate::render::envelope;
use crate::run::{Manifest, Window, WindowId};
use crate::sweep::{Event, Moment, Plan, Whereabouts};
use crate::wire::Place;
use anyhow::Result;
use clap::Args;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime};

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct LiveOutput {
    /// While it runs print events as JSON, an object a line: start, windows, progress, checks; the last one, `end`, has
    /// the answer
    #[arg(long, conflicts_with_all = ["json", "everything", "section", "brief"])]
    pub json_lines: bool,
}

/// Windows to come, and how long they will take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Number of windows.
    pub windows: usize,
    /// Seconds of all of them, as planned.
    pub seconds: f64,
    /// Fewer may do.
    pub at_most: bool,
}

/// The lines of one measurement.
pub struct JsonLines {
    /// `None`: the command line was not understood.
    verb: Option<String>,
    begun: Instant,
    time: SystemTime,
    told: Mutex<Told>,
}

/// What the last line repeats.
#[derive(Default)]
struct Told {
    runs: Vec<String>,
    answer: Value,
}

impl JsonLines {
    pub fn new(verb: Option<&str>) -> JsonLines {
        JsonLines {
            verb: verb.map(String::from),
            begun: Instant::now(),
            time: SystemTime::now(),
            told: Mutex::default(),
        }
    }

    /// The first line.
    pub fn start(&self, plan: &Plan, follow: Option<Duration>, expected: Expected) {
        let Expected { windows, seconds, at_most } = expected;
        self.line(
            "start",
            json!({
                "time": humantime::format_rfc3339_millis(self.time).to_string(),
                "levels": plan.levels,
                "windows": windows,
                "at_most": at_most,
                "warmup_seconds": plan.timing.warmup.as_secs_f64(),
                "window_seconds": plan.timing.window.as_secs_f64(),
                "followed_seconds": follow.map(|length| length.as_secs_f64()),
                "expected_seconds": seconds,
            }),
        );
    }

    /// A line for what programs can use of an event.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Started { run, id, index, of, seconds } => {
                self.remember(run);
                self.line("window_start", with(window(run, *id, *index, *of), json!({ "expected_seconds": seconds })));
            }
            Event::Running(moment) => self.line("progress", progress(moment)),
            Event::Finished { run, window: measured, index, of } => {
                let id = measured.id();
                self.line("window", with(window(run, id, *index, *of), figures(measured)));
                checks(measured).for_each(|check| self.line("check", with(window(run, id, *index, *of), check)));
            }
            Event::Further(windows) => self.line("further", json!({ "windows": windows })),
            Event::Noted(text) => self.line("note", json!({ "text": without_secrets(text) })),
            Event::Preparing(_) | Event::Following(_) | Event::Processing(_) => {}
        }
    }

    fn remember(&self, run: &Manifest) {
        let runs = &mut self.told.lock().runs;
        if !runs.contains(&run.id) {
            runs.push(run.id.clone());
        }
    }

    /// Keeps the answer for the last line.
    pub fn answer(&self, answer: Value) {
        self.told.lock().answer = answer;
    }

    /// The last line.
    ///
    /// # Errors
    /// It cannot be written, so that whoever reads has no answer.
    pub fn end(&self, ended: &Result<Outcome>) -> Result<Outcome> {
        self.last(
            exit::code_of(ended),
            ended.as_ref().err().map_or_else(|| json!({}), |error| exit::failure(self.verb.as_deref(), error)),
        )
    }

    /// The last line, with the object of a failure.
    ///
    /// # Errors
    /// As [`JsonLines::end`].
    pub fn last(&self, exit_code: u8, failure: Value) -> Result<Outcome> {
        let Told { runs, answer } = std::mem::take(&mut *self.told.lock());
        let told = json!({ "exit_code": exit_code, "answer": answer });
        let verb = self.verb.as_deref().unwrap_or_default();
        self.write("end", with(with(envelope(verb, &runs), told), failure))
    }

    /// A line of work under way: a full disk is told by the last line, and is no reason to end the work.
    fn line(&self, event: &str, told: Value) {
        let _ = self.write(event, told);
    }

    fn write(&self, event: &str, told: Value) -> Result<Outcome> {
        let head = json!({ "event": event, "seconds": self.begun.elapsed().as_secs_f64() });
        output::line(&with(head, told))
    }
}

/// One object of two.
fn with(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}

/// Which window; it is counted from 1.
fn window(run: &Manifest, id: WindowId, index: usize, of: usize) -> Value {
    json!({
        "run": run.id,
        "side": run.side.as_ref().map(|side| &side.name),
        "level": id.level,
        "replicate": id.replicate,
        "window": index + 1,
        "of": of,
    })
}

fn progress(moment: &Moment) -> Value {
    json!({
        "level": moment.id.level,
        "replicate": moment.id.replicate,
        "seconds_left": moment.left,
        "queries_per_second": moment.throughput,
        "p99_seconds": moment.p99.map(|nanos| seconds(nanos as f64)),
        "clients": moment.clients.as_ref().map(clients),
    })
}

/// What a window measured; what it did not is null, and `missing` says why.
fn figures(window: &Window) -> Value {
    let LevelSummary { throughput, mean_latency, p50, p99, p999, errors, load_threads, seconds: length, .. } =
        of_window(window);
    let percentile = |nanos: Option<u64>| nanos.map(|nanos| seconds(nanos as f64));
    let missing = window
        .facts
        .missing
        .iter()
        .map(|lacking| json!({ "what": lacking.what, "why": without_secrets(&lacking.why) }));
    json!({
        "time": window.facts.wall,
        "length_seconds": length,
        "queries": window.counted().then_some(window.load.completed),
        "queries_per_second": throughput,
        "mean_seconds": mean_latency.map(seconds),
        "p50_seconds": percentile(p50),
        "p99_seconds": percentile(p99),
        "p999_seconds": percentile(p999),
        "errors": errors,
        "load_threads": load_threads,
        "clients": window.wire.as_ref().and_then(Whereabouts::of).as_ref().map(clients),
        "missing": missing.collect::<Vec<_>>(),
    })
}

/// The checks that do not hold.
fn checks(window: &Window) -> impl Iterator<Item = Value> {
    let broken = window.checks.iter().filter(|check| matches!(check.status(), Status::Warn | Status::Fail));
    broken.map(|check| {
        let stored = json!(check);
        json!({
            "check": stored["guard"],
            "status": check.status(),
            "text": check.to_string(),
            "remedy": check.remedy(),
        })
    })
}

/// Number of clients in each place.
fn clients(at: &Whereabouts) -> Value {
    let each = Place::ALL.iter().zip(at.0).filter_map(|(place, there)| Some((json!(place).as_str()?.into(), there)));
    Value::Object(each.map(|(place, there): (String, f64)| (place, json!(there))).collect::<Map<_, _>>())
}

fn seconds(nanos: f64) -> f64 {
    nanos / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::run::{Missing, Part, build};

    #[test]
    fn a_second_is_told_in_si_units_and_what_is_not_known_is_null() {
        let id = WindowId { level: 16, replicate: 2 };
        let clients = Some(Whereabouts([1.0, 0.5, 2.0, 12.0, 0.25, 0.25]));
        let mut moment = Moment { id, left: 7.5, throughput: Some(53_238.0), p99: Some(1_920_000), clients };
        let told = progress(&moment);
        assert_eq!((&told["queries_per_second"], &told["p99_seconds"]), (&json!(53_238.0), &json!(0.00192)));
        assert_eq!((&told["clients"]["server"], &told["clients"]["server_buffer"]), (&json!(12.0), &json!(2.0)));
        (moment.throughput, moment.p99, moment.clients) = (None, None, None);
        let told = progress(&moment);
        assert!(["queries_per_second", "p99_seconds", "clients"].iter().all(|key| told[key].is_null()), "{told}");
    }

    #[test]
    fn a_window_has_its_figures_and_says_why_it_lacks_others() {
        let mut window = build::window(4, 1, 5, 2_000, None);
        let told = figures(&window);
        assert_eq!((&told["queries"], &told["queries_per_second"]), (&json!(2_000), &json!(400.0)));
        assert_eq!((&told["mean_seconds"], &told["clients"]), (&json!(0.001), &Value::Null));
        window.load.latency_sum = None;
        let why = Missing { what: Part::Latency, why: "nobody tells".into(), remedy: "ask".into() };
        window.facts.missing.push(why);
        let told = figures(&window);
        assert_eq!(
            (&told["mean_seconds"], &told["missing"][0]),
            (&Value::Null, &json!({ "what": "latency", "why": "nobody tells" }))
        );
    }

    #[test]
    fn only_checks_that_do_not_hold_are_told_each_with_its_sentence_and_remedy() {
        let mut window = build::window(4, 1, 5, 2_000, None);
        window.checks = vec![
            Check::MachineBusy { busy: 1, capacity: 100 },
            Check::Errors { errors: 3, completed: 9, first: "x".into() },
        ];
        let told: Vec<Value> = checks(&window).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["check"], &told[0]["status"]), (&json!("errors"), &json!("fail")));
        assert!(told[0]["text"].as_str().is_some_and(|text| text.starts_with("3 queries failed")), "{}", told[0]);
        assert!(told[0]["remedy"].is_string());
    }
}
