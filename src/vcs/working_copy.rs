//! What a working copy is at: the revision that a binary was built from, as far as the directory can tell.

use super::{Location, Tool};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

/// A working copy as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingCopy {
    /// Its root.
    pub directory: String,
    /// Who keeps it.
    pub tool: Tool,
    /// jj's change id; `None` under git.
    pub change: Option<String>,
    /// Full hash of the commit: jj's working-copy commit, or git's HEAD.
    pub commit: String,
    /// First line of the commit's description; may be empty.
    pub title: String,
    /// It differs from the commit's parent (jj, whose commit holds the difference) or from the commit (git). Files
    /// that git does not track do not count.
    pub changed: bool,
    /// The tracked file that was modified last, documents apart.
    pub newest: Option<Modified>,
}

/// A file and when it was modified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modified {
    /// Relative to the root.
    pub file: String,
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
}

/// Files that no binary is built from: the log and its pictures lie in the working copy, too.
const DOCUMENTS: [&str; 5] = ["md", "txt", "svg", "gz", "ini"];

/// jj's answer in lines: change, commit, whether it changes anything, title.
const TEMPLATE: &str =
    r#"change_id ++ "\n" ++ commit_id ++ "\n" ++ if(empty, "", "changed") ++ "\n" ++ description.first_line() ++ "\n""#;

/// Reads the working copy that holds `directory`.
///
/// # Errors
/// No working copy, a tool that is not installed, or what it answers.
pub fn working_copy(directory: &Path) -> Result<WorkingCopy> {
    let place = Location::of(directory)?;
    let (change, commit, changed, title, files) = match place.tool {
        Tool::Jj => {
            let answer = place.run(&["log", "--no-graph", "-r", "@", "-T", TEMPLATE])?;
            let mut lines = answer.lines().map(str::to_string);
            let mut next =
                || lines.next().with_context(|| format!("`jj log` answers otherwise than expected: {answer}"));
            let (change, commit, changed, title) = (next()?, next()?, next()?, next()?);
            (Some(change), commit, !changed.is_empty(), title, place.run(&["file", "list", "-r", "@"])?)
        }
        Tool::Git => {
            let answer = place.run(&["log", "-1", "--format=%H%n%s"])?;
            let (commit, title) = answer.trim_end().split_once('\n').unwrap_or((answer.trim(), ""));
            let changed = !place.run(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
            (
                None,
                commit.to_string(),
                changed,
                title.to_string(),
                place.run(&["-c", "core.quotePath=off", "ls-files"])?,
            )
        }
    };
    let newest = newest(&place.root, files.lines());
    Ok(WorkingCopy {
        directory: place.root.display().to_string(),
        tool: place.tool,
        change,
        commit,
        title,
        changed,
        newest,
    })
}

fn newest<'a>(root: &Path, files: impl Iterator<Item = &'a str>) -> Option<Modified> {
    let code = files.filter(|file| Path::new(file).extension().is_none_or(|e| !DOCUMENTS.iter().any(|d| e == *d)));
    let modified = |file: &str| -> Option<SystemTime> {
        let metadata = std::fs::symlink_metadata(root.join(file)).ok().filter(|metadata| metadata.is_file())?;
        metadata.modified().ok()
    };
    let (at, file) = code.filter_map(|file| Some((modified(file)?, file))).max()?;
    Some(Modified { file: file.to_string(), at: humantime::format_rfc3339_millis(at).to_string() })
}
