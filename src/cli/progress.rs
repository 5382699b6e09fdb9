//! Progress of long work, on standard error: a live line on a terminal, a line a window elsewhere. Invariant: standard
//! output holds the answer and nothing else, but for the lines that programs asked for.

use super::json_lines::{Expected, JsonLines};
use super::{Outcome, output, screen};
use crate::connection::without_secrets;
use crate::render::{self, Screen};
use crate::run::{Window, WindowId};
use crate::sweep::{Event, Moment, Plan};
use crate::wire::Place;
use crate::words::{average, counted, thousands, time};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What a window takes besides its warm-up and itself: connecting, ending, symbols and files.
const BESIDES: f64 = 0.7;

/// Shows what is going on.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// For its characters and its width.
    screen: Screen,
    course: Mutex<Course>,
    lines: Option<JsonLines>,
}

/// The windows that are planned, and how far they are.
#[derive(Debug, Default)]
struct Course {
    windows: usize,
    /// Fewer may do.
    at_most: bool,
    /// Seconds of all of them, as planned.
    planned: f64,
    begun: Option<Instant>,
    finished: usize,
    under_way: String,
}

impl Progress {
    pub fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let screen = Screen { unicode: screen::unicode(terminal), ..Screen::plain(screen::width_of_notes()) };
        let bar = terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").expect("constant template");
            bar.set_style(if screen.unicode { style } else { style.tick_chars("-\\|/ ") });
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { bar, screen, course: Mutex::default(), lines: None }
    }

    /// As [`Progress::new`], and for programs on standard output where they ask for it of this verb.
    pub fn for_programs(verb: Option<&str>) -> Progress {
        let mut progress = Progress::new();
        progress.lines = verb.map(|verb| JsonLines::new(Some(verb)));
        progress
    }

    /// The events for programs; `None`: nobody asked for them.
    pub fn lines(&self) -> Option<&JsonLines> {
        self.lines.as_ref()
    }

    /// Tells programs how it ended.
    ///
    /// # Errors
    /// What it ended with; else that the answer cannot be written.
    pub fn ended(&self, ended: Result<Outcome>) -> Result<Outcome> {
        match self.lines.as_ref().map(|lines| lines.end(&ended)) {
            Some(Err(unwritten)) => ended.and(Err(unwritten)),
            _ => ended,
        }
    }

    /// Whether somebody looks on.
    pub fn is_live(&self) -> bool {
        self.bar.is_some() || self.lines.is_some()
    }

    /// Something worth keeping on the screen.
    pub fn note(&self, text: &str) {
        let text = without_secrets(text);
        let text = self.screen.spelt(&text);
        match &self.bar {
            Some(bar) => wrapped(&text, self.screen.width).lines().for_each(|line| bar.println(line)),
            None => output::say(text),
        }
    }

    /// What is being done now.
    pub fn working(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(self.screen.spelt(text).into_owned()),
            None => output::say(format_args!("{} ...", self.screen.spelt(text))),
        }
    }

    /// What goes on beside the windows, for who looks on.
    fn meanwhile(&self, id: WindowId, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("level {}: {what}", id.level));
        }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Says how long the windows will take: those of `plan`, with the followed seconds of each level, for each of
    /// `arms`; `at_most` where fewer may do.
    pub fn plan(&self, plan: &Plan, follow: Option<Duration>, arms: usize, at_most: bool) {
        let levels = plan.levels.len().max(1);
        let windows = levels * plan.replicates * arms;
        let each = (plan.timing.warmup + plan.timing.window).as_secs_f64() + BESIDES;
        let planned = windows as f64 * each + (levels * arms) as f64 * follow.unwrap_or_default().as_secs_f64();
        let mut parts = Vec::new();
        if !plan.levels.is_empty() {
            parts.push(counted(levels as u64, "level"));
        }
        if windows > levels || plan.levels.is_empty() {
            parts.push(counted(windows as u64, "window"));
        }
        let bound = if at_most { "at most " } else { "" };
        let further = plan.precision.map_or(String::new(), |goal| {
            format!("; then further ones until the precision is reached, at most {} a level", goal.windows)
        });
        self.note(&format!("{bound}{}, about {}{further}", parts.join(", "), short(planned)));
        *self.course.lock() = Course { windows, at_most, planned, ..Course::default() };
        self.lines.iter().for_each(|lines| lines.start(plan, follow, Expected { windows, seconds: planned, at_most }));
    }

    /// More windows than were planned, and how long they will take.
    fn further(&self, windows: usize) {
        let left = self.course.lock().extend(windows);
        self.note(&format!("about {}{left}", counted(windows as u64, "further window")));
    }

    pub fn event(&self, event: Event) {
        self.lines.iter().for_each(|lines| lines.event(&event));
        match event {
            Event::Preparing(what) => self.working(what),
            Event::Noted(what) => self.note(what),
            Event::Further(windows) => self.further(windows),
            Event::Started { id, index, of, seconds, .. } => {
                self.working(&format!("{}, {seconds:.0} s", self.course.lock().start(id, index, of)));
            }
            // Elsewhere than on a terminal it would be a line a second.
            Event::Running(moment) if self.bar.is_some() => self.working(&self.course.lock().running(&moment)),
            Event::Running(_) => {}
            Event::Following(id) => self.meanwhile(id, "following what carries the queries"),
            Event::Processing(id) => self.meanwhile(id, "symbols and files"),
            Event::Finished { window, index, of, .. } => {
                let left = self.course.lock().finish();
                self.note(&format!("[{}/{of}] {}{left}", index + 1, measured(window)));
            }
        }
    }
}

impl Course {
    fn start(&mut self, id: WindowId, index: usize, of: usize) -> String {
        self.begun.get_or_insert_with(Instant::now);
        self.under_way = format!("window {} of {of}: level {}, replicate {}", index + 1, id.level, id.replicate);
        self.under_way.clone()
    }

    fn running(&self, moment: &Moment) -> String {
        let mut parts = vec![self.under_way.clone()];
        parts.extend(moment.throughput.map(rate));
        parts.extend(moment.p99.map(|nanos| format!("p99 {}", time(nanos as f64))));
        parts.extend(moment.clients.map(|at| {
            let [server, network, client] = [
                [Place::ServerBuffer, Place::Server],
                [Place::Request, Place::Response],
                [Place::Client, Place::ClientBuffer],
            ]
            .map(|places| at.within(&places));
            let [server, network, client] = [server, network, client].map(average);
            format!("clients: {server} server, {network} network, {client} client")
        }));
        parts.push(format!("{:.0} s to go", moment.left));
        let after = self.windows.saturating_sub(self.finished + 1);
        if after > 0 {
            parts.push(format!("then {}{after} more", if self.at_most { "at most " } else { "" }));
        }
        parts.join(", ")
    }

    /// One more is done; how long the others will take.
    fn finish(&mut self) -> String {
        self.finished += 1;
        let after = self.windows.saturating_sub(self.finished);
        let Some(each) = self.each().filter(|_| after > 0) else { return String::new() };
        let bound = if self.at_most { "at most " } else { "" };
        format!("; {bound}{after} more, about {}", short(each * after as f64))
    }

    /// So many more are to come; how long they will take.
    fn extend(&mut self, windows: usize) -> String {
        let each = self.planned / self.windows.max(1) as f64;
        self.windows = self.finished + windows;
        self.planned = each * self.windows as f64;
        self.each().map_or_else(String::new, |each| format!(", {}", short(each * windows as f64)))
    }

    /// Seconds that a window takes, by those that are done, once there are some; what is planned counts as one of them.
    /// `None`: none has begun.
    fn each(&self) -> Option<f64> {
        let elapsed = self.begun?.elapsed().as_secs_f64();
        Some((elapsed + self.planned / self.windows as f64) / (self.finished + 1) as f64)
    }
}

/// Lines that the screen does not break within a word; a word that is wider, such as a path, is left whole.
fn wrapped(text: &str, width: usize) -> String {
    let whole = |line: &str| line.split(' ').any(|word| word.chars().count() > width);
    let line = |line: &str| match line.chars().count() <= width || whole(line) {
        true => line.to_string(),
        false => render::wrapped(line, width).trim_end().to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What a finished window measured, in a line.
fn measured(window: &Window) -> String {
    let load = &window.load;
    let mean = load.mean_latency().map_or("not measured".into(), time);
    let queries = match window.counted() {
        true => {
            let queries = counted(load.completed, "query");
            format!("{}, mean latency {mean}, {queries}", rate(load.throughput()))
        }
        false => "queries not counted".into(),
    };
    format!("level {:>3}: {queries} in {}", window.id().level, time(load.span.nanos() as f64))
}

fn rate(queries: f64) -> String {
    format!("{} queries/s", thousands(&format!("{queries:.0}")))
}

/// A length of time, for people.
fn short(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        90.0..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Whereabouts;

    #[test]
    fn a_second_is_told_in_a_line_and_what_is_not_known_is_left_out() {
        let id = WindowId { level: 16, replicate: 1 };
        let mut course = Course { windows: 4, planned: 40.0, ..Course::default() };
        course.start(id, 0, 4);
        let clients = Some(Whereabouts([1.0, 1.5, 2.31, 10.0, 0.5, 0.69]));
        let mut moment = Moment { id, left: 7.2, throughput: Some(53_238.4), p99: Some(1_920_000), clients };
        let all = "window 1 of 4: level 16, replicate 1, 53,238 queries/s, p99 1.92 ms, clients: 12.3 server, 2.00 \
                   network, 1.69 client, 7 s to go, then 3 more";
        assert_eq!(course.running(&moment), all);
        (moment.throughput, moment.p99, moment.clients) = (None, None, None);
        assert_eq!(course.running(&moment), "window 1 of 4: level 16, replicate 1, 7 s to go, then 3 more");
        assert_eq!(course.finish(), "; 3 more, about 15 s");
        (0..3).for_each(|_| drop(course.finish()));
        assert_eq!(course.finish(), "", "nothing is left");
        // Five are done in no time; one that was planned took 10 s.
        assert_eq!(course.extend(3), ", 5 s");
        assert_eq!(course.finish(), "; 2 more, about 3 s");
    }

    #[test]
    fn a_note_is_broken_between_words_and_a_path_is_not() {
        assert_eq!(wrapped("set up:  a", 20), "set up:  a");
        assert_eq!(wrapped("one two three four five", 10), "one two\nthree four\nfive");
        assert_eq!(wrapped("see /a/path/that/is/long", 10), "see /a/path/that/is/long");
    }

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        assert_eq!([short(38.2), short(125.0), short(7200.0)], ["38 s", "2 min", "2.0 h"]);
    }
}
