//! The notes of all load threads, cut to one window. Invariant: every completion inside the window is in exactly one
//! slice, so that the slices' counts and histograms sum to the window's.

use super::plan::Plan;
use super::record::{Mark, Notes, Outcome, Record};
use super::slice_latency::empty_slice_histogram;
use super::trace::{
    Counted, ErrorCount, Generator, JobCount, LoadTrace, SLICE, Sessions, Slice, empty_histogram, empty_slices,
};
use super::transactions::transactions;
use super::{LoopChoice, ThreadChoice};
use crate::clock::{Nanos, Span};
use crate::connection::without_secrets;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// The highest latency that a histogram tells apart, 1 h in ns; longer ones are counted there.
const LONGEST: u64 = 3_600_000_000_000;

/// What is known of the load besides the notes.
pub struct Setting<'a> {
    pub driver: String,
    pub connections: usize,
    pub accepted_errors: &'a [String],
    /// A further interval whose sums are wanted.
    pub within: Option<Span>,
    /// So many of the notes, the first ones, are of threads that ended before the others began.
    pub ended: usize,
    /// How the number of load threads came about.
    pub choice: Option<ThreadChoice>,
    /// Through what they sent and received.
    pub through: LoopChoice,
}

/// Cuts the notes to `span`.
pub fn cut(span: Span, notes: &[Notes], plan: &Plan, setting: Setting) -> LoadTrace {
    let mut tally = Tally::new(span, plan);
    for thread in notes {
        for record in thread.records().filter(|record| span.contains(record.end)) {
            tally.add(record, thread);
        }
    }
    tally.close();
    let accepted = |sqlstate: &String| setting.accepted_errors.contains(sqlstate);
    let errors = tally.errors.into_iter().map(|((sqlstate, message), count)| {
        let accepted = accepted(&sqlstate);
        ErrorCount { sqlstate, message: without_secrets(&message), count, accepted }
    });
    let lost = notes.iter().flat_map(|thread| &thread.losses).filter(|loss| loss.at < span.end).count();
    LoadTrace {
        driver: setting.driver,
        span,
        connections: setting.connections,
        rate: plan.rate,
        completed: tally.slices.iter().map(|slice| slice.completed).sum(),
        counted_by: "client".into(),
        rows: tally.jobs.iter().map(|job| job.rows).sum(),
        wrong_rows: tally.wrong_rows,
        errors: errors.collect(),
        latency_sum: Some(tally.slices.iter().map(|slice| slice.latency_sum).sum()),
        at_sockets: setting.within.map(|span| counted(span, notes)),
        slices: tally.slices,
        latency: tally.latency,
        generator: Generator {
            choice: setting.choice,
            through: Some(setting.through),
            ..generator(span, &notes[setting.ended..], tally.delay)
        },
        sessions: Sessions { opened: setting.connections as u64, lost: lost as u64 },
        jobs: tally.jobs,
        transactions: plan.mix().map(|mix| transactions(span, notes, mix)),
        reported: None,
        hosts: Vec::new(),
    }
}

/// The sums of an interval, errors left out.
fn counted(span: Span, notes: &[Notes]) -> Counted {
    let records = notes.iter().flat_map(Notes::records).filter(|record| span.contains(record.end));
    let mut sums = Counted { span, completed: 0, latency_sum: 0 };
    for record in records.filter(|record| !matches!(record.outcome(), Outcome::Error(_))) {
        sums.completed += 1;
        sums.latency_sum += record.latency();
    }
    sums
}

struct Tally {
    span: Span,
    slices: Vec<Slice>,
    /// Of the slice that is counted now: a thread's records come in order of time.
    open: Option<usize>,
    counted: Histogram<u64>,
    /// Of the slices that were counted before.
    latency: Histogram<u64>,
    jobs: Vec<JobCount>,
    errors: BTreeMap<(String, String), u64>,
    wrong_rows: u64,
    delay: u64,
}

impl Tally {
    fn new(span: Span, plan: &Plan) -> Self {
        let job = |name: &String| JobCount { name: name.clone(), completed: 0, rows: 0, errors: 0, latency_sum: 0 };
        Tally {
            span,
            slices: empty_slices(span),
            open: None,
            counted: empty_slice_histogram(),
            latency: empty_histogram(),
            jobs: plan.counted().iter().map(job).collect(),
            errors: BTreeMap::new(),
            wrong_rows: 0,
            delay: 0,
        }
    }

    fn add(&mut self, record: &Record, thread: &Notes) {
        let job = &mut self.jobs[record.job()];
        let rows = match record.outcome() {
            Outcome::Rows(rows) => rows,
            Outcome::WrongRows(rows) => {
                self.wrong_rows += 1;
                rows
            }
            Outcome::Error(kind) => {
                job.errors += 1;
                *self.errors.entry(thread.errors[kind as usize].clone()).or_default() += 1;
                return;
            }
        };
        let latency = record.latency();
        job.completed += 1;
        job.rows += u64::from(rows);
        job.latency_sum += latency;
        let at = ((record.end - self.span.start) / SLICE) as usize;
        if self.open != Some(at) {
            self.close();
            self.open = Some(at);
        }
        let slice = &mut self.slices[at];
        slice.completed += 1;
        slice.latency_sum += latency;
        self.counted.record(latency.min(LONGEST)).expect("the histogram grows up to LONGEST");
        self.delay += u64::from(record.delay);
    }

    /// Keeps what was counted of the slice under way.
    fn close(&mut self) {
        let Some(at) = self.open.take() else { return };
        self.slices[at].latency.get_or_insert_default().add(&self.counted);
        self.latency.add(&self.counted).expect("no slice has values that the window's histogram cannot hold");
        self.counted.reset();
    }
}

fn generator(span: Span, notes: &[Notes], delay: u64) -> Generator {
    let inside = |thread: &Notes, value: fn(&Mark) -> u64| -> Option<f64> {
        Some(at(&thread.marks, span.end, value)? - at(&thread.marks, span.start, value)?)
    };
    let each = |value| notes.iter().map(|thread| inside(thread, value)).collect::<Option<Vec<f64>>>();
    let total = |value| each(value).map(|values| values.iter().sum::<f64>().round() as u64);
    let busiest = each(|mark| mark.cpu).and_then(|values| values.into_iter().reduce(f64::max));
    Generator {
        threads: notes.len(),
        cpu: total(|mark| mark.cpu),
        busiest: busiest.map(|nanos| nanos.round() as u64),
        dispatch_delay: Some(delay),
        wakes: total(|mark| mark.wakes),
        choice: None,
        through: None,
    }
}

/// A counter's value at an instant, linear between the marks around it; `None` before the first or after the last.
fn at(marks: &[Mark], when: Nanos, value: fn(&Mark) -> u64) -> Option<f64> {
    let after = marks.partition_point(|mark| mark.at < when);
    let right = marks.get(after)?;
    if right.at == when {
        return Some(value(right) as f64);
    }
    let left = marks.get(after.checked_sub(1)?)?;
    let share = (when - left.at) as f64 / (right.at - left.at) as f64;
    Some(value(left) as f64 + (value(right) - value(left)) as f64 * share)
}

#[cfg(test)]
mod tests {
    use super::super::plan::Protocol;
    use super::*;
    use crate::load::SliceLatency;
    use crate::workload::Workload;

    const MS: u64 = 1_000_000;

    fn cut_last(span: Span, notes: Vec<Notes>) -> LoadTrace {
        let plan = Plan::new(&Workload::from_query("select 1"), Protocol::Simple, false).unwrap();
        let accepted = ["40001".to_string()];
        let setting = Setting {
            driver: "d".into(),
            connections: 3,
            accepted_errors: &accepted,
            within: Some(Span::new(span.start + 50 * MS, span.end)),
            ended: notes.len() - 1,
            choice: None,
            through: LoopChoice::epoll(None),
        };
        cut(span, &notes, &plan, setting)
    }

    fn cut_one(span: Span, notes: Notes) -> LoadTrace {
        cut_last(span, vec![notes])
    }

    #[test]
    fn the_notes_of_threads_that_ended_count_and_their_cpu_is_no_threads_of_the_window() {
        let noted = |end: u64, from: u64, to: u64, cpu: u64| {
            let mut notes = Notes::default();
            notes.record(Record::new(end, 2, 0, 0, Outcome::Rows(1)));
            notes.marks = vec![Mark { at: from, cpu: 0, wakes: 0 }, Mark { at: to, cpu, wakes: 0 }];
            notes
        };
        let notes = || vec![noted(15, 0, 20, 9), noted(25, 20, 60, 40)];
        let trace = cut_last(Span::new(30, 50), notes());
        assert_eq!((trace.generator.threads, trace.generator.cpu, trace.completed), (1, Some(20), 0));
        let trace = cut_last(Span::new(10, 50), notes());
        assert_eq!((trace.generator.cpu, trace.completed), (None, 2), "the window begins before the thread");
    }

    #[test]
    fn the_busiest_thread_is_told_apart_from_the_sum() {
        let marked = |cpu| {
            let mut notes = Notes::default();
            notes.marks = vec![Mark { at: 0, cpu: 0, wakes: 0 }, Mark { at: 100, cpu, wakes: 0 }];
            notes
        };
        let generator = generator(Span::new(0, 50), &[marked(20), marked(80)], 0);
        assert_eq!((generator.cpu, generator.busiest, generator.threads), (Some(50), Some(40), 2));
    }

    #[test]
    fn a_window_holds_exactly_what_ended_inside_it() {
        let span = Span::new(1000 * MS, 1120 * MS);
        let mut notes = Notes::default();
        for end in [999, 1000, 1049, 1050, 1119, 1120] {
            notes.record(Record::new(end * MS, 2 * MS, 0, 10, Outcome::Rows(3)));
        }
        let trace = cut_one(span, notes);
        assert_eq!((trace.completed, trace.rows, trace.latency_sum), (4, 12, Some(8 * MS)));
        let slices: Vec<_> = trace.slices.iter().map(|s| (s.at / MS, s.nanos / MS, s.completed)).collect();
        assert_eq!(slices, [(0, 50, 2), (50, 50, 1), (100, 20, 1)]);
        assert_eq!(trace.latency.len(), 4);
        assert_eq!(trace.generator.dispatch_delay, Some(40));
        assert_eq!(trace.jobs[0].completed, 4);
        let counted = trace.at_sockets.unwrap();
        assert_eq!((counted.completed, counted.latency_sum), (2, 4 * MS), "of the interval within");
    }

    #[test]
    fn latencies_keep_three_digits_up_to_an_hour() {
        let mut notes = Notes::default();
        for latency in [5_000, 7 * MS, 5_000 * MS, LONGEST, 2 * LONGEST] {
            notes.record(Record::new(5, latency, 0, 0, Outcome::Rows(1)));
        }
        let trace = cut_one(Span::new(0, 10), notes);
        for histogram in [&trace.latency, &trace.slices[0].latency.as_ref().unwrap().histogram()] {
            let kept: Vec<_> = histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
            assert_eq!(kept.iter().map(|(_, count)| count).collect::<Vec<_>>(), [&1, &1, &1, &2]);
            for ((value, _), expected) in kept.iter().zip([5_000, 7 * MS, 5_000 * MS, LONGEST]) {
                // Whole units of 512 ns at the lower end.
                let error = value.abs_diff(expected);
                assert!(error <= (expected / 1000).max(512), "{value} for {expected}");
            }
        }
    }

    #[test]
    fn slices_take_bytes_by_their_queries_and_threads_add_up() {
        let seconds = 20_000 * MS;
        // Two threads, each a query in each ms, of 1 to 40 ms.
        let thread = |shift: u64| {
            let mut notes = Notes::default();
            let record = |at: u64| Record::new(at * MS + shift, (1 + (at + shift) % 40) * MS, 0, 0, Outcome::Rows(1));
            (0..seconds / MS).for_each(|at| notes.record(record(at)));
            notes
        };
        let trace = cut_last(Span::new(0, seconds), vec![thread(0), thread(1)]);
        assert_eq!((trace.slices.len(), trace.completed, trace.latency.len()), (400, 40_000, 40_000));
        let latencies = || trace.slices.iter().filter_map(|slice| slice.latency.as_ref());
        assert!(latencies().all(|latency| latency.len() == 100));
        // As dense histograms each was 50 KB and more: in ten minutes 600 MB.
        let bytes: usize = latencies().map(SliceLatency::bytes).sum();
        assert!(bytes <= 400 * 40 * 12, "{bytes} bytes");
    }

    #[test]
    fn errors_are_counted_by_kind_and_are_not_completed() {
        let mut notes = Notes::default();
        let kinds = [notes.error_kind("40001".into(), "a".into()), notes.error_kind("XX000".into(), "b".into())];
        for kind in [kinds[0], kinds[1], kinds[1]] {
            notes.record(Record::new(5, 1, 0, 0, Outcome::Error(kind)));
        }
        notes.record(Record::new(5, 1, 0, 0, Outcome::WrongRows(0)));
        let trace = cut_one(Span::new(0, 10), notes);
        assert_eq!((trace.completed, trace.wrong_rows, trace.jobs[0].errors), (1, 1, 3));
        let counts: Vec<_> = trace.errors.iter().map(|e| (e.sqlstate.as_str(), e.count, e.accepted)).collect();
        assert_eq!(counts, [("40001", 1, true), ("XX000", 2, false)]);
        assert_eq!(trace.error_count(), 2, "the accepted one is no failure");
    }

    #[test]
    fn cpu_is_interpolated_between_marks_and_unknown_outside_them() {
        let mark = |at, cpu| Mark { at, cpu, wakes: cpu * 2 };
        let marked = || {
            let mut notes = Notes::default();
            notes.marks = vec![mark(10, 100), mark(20, 200), mark(40, 220)];
            notes
        };
        let trace = cut_one(Span::new(15, 30), marked());
        assert_eq!((trace.generator.cpu, trace.generator.wakes), (Some(60), Some(120)));
        let trace = cut_one(Span::new(10, 40), marked());
        assert_eq!(trace.generator.cpu, Some(120));
        for span in [Span::new(9, 30), Span::new(15, 41)] {
            let trace = cut_one(span, marked());
            assert_eq!(trace.generator.cpu, None, "{span:?}");
        }
    }
}
