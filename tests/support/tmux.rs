//! A terminal of a known size that a test can look at: a pane of tmux. Invariant: the server of tmux, and what runs in
//! it, is gone when the pane is dropped.

use crate::skip::skip;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is printed behind a command that has ended.
const ENDED: &str = "exit code";

pub struct Pane {
    /// The socket of its own server, and the configuration.
    folder: tempfile::TempDir,
}

impl Pane {
    /// A pane of 80 x 24 in which this is run by a shell; `None`, with the reason printed: tmux is not here.
    pub fn of(command: &str, directory: &Path) -> Option<Pane> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skip("tmux is not installed: install the package `tmux`");
            return None;
        }
        let pane = Pane { folder: tempfile::tempdir().unwrap() };
        std::fs::write(pane.folder.path().join("conf"), "set -g history-limit 5000\n").unwrap();
        let mut start = pane.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "-c"]);
        start.arg(directory).arg(format!("{command}; printf '{ENDED} %s' $?; sleep 600"));
        for variable in ["COLUMNS", "WIREPROF_RUNS", "PAGER", "WIREPROF_PAGER", "LESS", "NO_COLOR"] {
            start.env_remove(variable);
        }
        let output = start.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(pane)
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(self.folder.path().join("socket"));
        tmux.arg("-f").arg(self.folder.path().join("conf")).args(arguments).stdin(Stdio::null());
        tmux
    }

    fn captured(&self, more: &[&str]) -> Vec<String> {
        let output = self.tmux(&[&["capture-pane", "-p"], more].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_string()).collect()
    }

    /// What is to be seen now.
    pub fn screen(&self) -> Vec<String> {
        self.captured(&[])
    }

    /// All lines, those that have left the screen included, once the command has ended. None of them was wrapped by the
    /// terminal.
    pub fn lines(&self) -> Vec<String> {
        self.await_text(ENDED);
        let (shown, joined) = (self.captured(&["-S", "-"]), self.captured(&["-S", "-", "-J"]));
        let wide: Vec<&String> = joined.iter().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty() && shown.len() == joined.len(), "the terminal wraps: {wide:#?}");
        shown
    }

    /// Waits until the screen holds this.
    pub fn await_text(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.screen().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < deadline, "no {text:?} on the screen: {:#?}", self.screen());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.tmux(&["kill-server"]).output();
    }
}

/// The answer stands on the screen from its title to the place of the run.
pub fn assert_answer(screen: &[String]) {
    let starts = ["clients  queries/s", "Why  ", "Next  ", "Run  "];
    let found = starts.map(|start| screen.iter().position(|line| line.trim_start().starts_with(start)));
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}: {screen:#?}");
}
