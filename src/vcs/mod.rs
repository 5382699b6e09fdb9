//! Working copies under jj or git, through their own commands: what a directory is at, and changes of their own for
//! what the user asked to be recorded. Invariant: reading changes no file (jj takes its snapshot, as with any command
//! of its); nothing is described, begun or committed unless the user said so.

mod change;
mod working_copy;

pub use change::{commit_file, describe_and_begin, is_unchanged};
pub use working_copy::{Modified, WorkingCopy, working_copy};

use crate::child;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who keeps a working copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Jujutsu.
    Jj,
    /// Git.
    Git,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Tool::Jj => "jj",
            Tool::Git => "git",
        })
    }
}

/// A command that is not installed.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not installed, and {1} is a working copy of it")]
struct NotInstalled(Tool, String);

/// A working copy's root and who keeps it: jj where both do.
#[derive(Clone, Debug)]
pub struct Location {
    /// Whose commands are used.
    pub tool: Tool,
    /// Absolute path of its root directory.
    pub root: PathBuf,
}

impl Location {
    /// The working copy that holds `directory`. Where jj keeps it beside git and is not installed, git answers.
    ///
    /// # Errors
    /// A directory in no working copy, or whose tool is not installed.
    pub fn of(directory: &Path) -> Result<Location> {
        let real = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
        for root in real.ancestors() {
            let (jj, git) = (root.join(".jj").is_dir(), root.join(".git").exists());
            let candidates = [(jj, Tool::Jj), (git, Tool::Git)].into_iter().filter(|(there, _)| *there);
            let places: Vec<Location> = candidates.map(|(_, tool)| Location { tool, root: root.into() }).collect();
            let Some(first) = places.first() else { continue };
            let installed = places.iter().find(|place| place.is_installed());
            return installed.cloned().ok_or_else(|| anyhow!(NotInstalled(first.tool, root.display().to_string())));
        }
        bail!("{} is in no working copy of jj or git", directory.display())
    }

    fn is_installed(&self) -> bool {
        let tried =
            Command::new(self.tool.to_string()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }

    /// What a command prints.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.tool.to_string());
        // Hooks of the working copy run, too.
        child::without_secrets(&mut command);
        match self.tool {
            Tool::Jj => command.args(["--no-pager", "--color=never", "--quiet"]),
            // Else `git status` would write the index.
            Tool::Git => command.arg("--no-pager").env("GIT_OPTIONAL_LOCKS", "0"),
        };
        let output = command.args(arguments).current_dir(&self.root).stdin(Stdio::null()).output();
        let output = output.map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!(NotInstalled(self.tool, self.root.display().to_string())),
            _ => anyhow!("cannot run {}: {error}", self.tool),
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            bail!(
                "`{} {}` in {} ended with {}: {said}",
                self.tool,
                arguments.join(" "),
                self.root.display(),
                output.status
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
