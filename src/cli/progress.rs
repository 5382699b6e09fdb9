//! Progress of long work, on standard error: a bar on a terminal, a line a window elsewhere. Invariant: standard
//! output holds the answer and nothing else.

use crate::sweep::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Shows what is going on.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("constant template"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { bar }
    }

    /// Something worth keeping on the screen.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// What is being done now.
    pub fn working(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_string()),
            None => eprintln!("{text} ..."),
        }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    pub fn event(&self, event: Event) {
        match event {
            Event::Preparing(what) => self.working(what),
            Event::Noted(what) => self.note(what),
            Event::Started { id, index, of, seconds } => self.working(&format!(
                "window {} of {of}: level {}, replicate {}, {seconds:.0} s",
                index + 1,
                id.level,
                id.replicate
            )),
            Event::Processing(id) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("level {}: symbols and files", id.level));
                }
            }
            Event::Finished { window, index, of } => {
                let load = &window.load;
                let latency = load.mean_latency().map_or("not measured".into(), |ns| format!("{:.1} us", ns / 1e3));
                let queries = match window.counted() {
                    true => format!("{:.0} q/s, mean latency {latency}, {} queries", load.throughput(), load.completed),
                    false => "queries not counted".into(),
                };
                let (number, level, seconds) = (index + 1, window.id().level, load.span.seconds());
                self.note(&format!("[{number}/{of}] level {level:>3}: {queries} in {seconds:.2} s"));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}
