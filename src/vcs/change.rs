//! Changes of their own. Invariant: a commit holds the one file that it is about, whatever else lies changed in the
//! working copy; each of these is run only when the user asked for it.

use super::{Location, Tool};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Whether the file is tracked and stands as its last commit has it, so that a change of it can be one of its own.
///
/// # Errors
/// As [`Location::of`]; what the tool answers.
pub fn is_unchanged(file: &Path) -> Result<bool> {
    let (place, name) = placed(file)?;
    Ok(match place.tool {
        Tool::Jj => {
            let fileset = exactly(&name);
            let tracked = !place.run(&["file", "list", &fileset])?.is_empty();
            tracked && place.run(&["diff", "--summary", &fileset])?.is_empty()
        }
        Tool::Git => {
            let tracked = !place.run(&["ls-files", "--", &name])?.is_empty();
            tracked && place.run(&["status", "--porcelain", "--", &name])?.is_empty()
        }
    })
}

/// Commits the changes of one file and nothing else. Under jj they leave the working copy's change for one below it;
/// under git what is staged stays staged.
///
/// # Errors
/// As [`Location::of`]; what the tool answers.
pub fn commit_file(file: &Path, message: &str) -> Result<Tool> {
    let (place, name) = placed(file)?;
    match place.tool {
        Tool::Jj => {
            // `jj commit FILE` would give the file's change the working copy's id, which is that of the optimization:
            // so a change of its own is inserted below, and the file's contents move there.
            place.run(&["new", "--no-edit", "--insert-before", "@", "-m", message])?;
            place.run(&[
                "squash",
                "--from",
                "@",
                "--into",
                "@-",
                "--use-destination-message",
                "--keep-emptied",
                &exactly(&name),
            ])?;
        }
        Tool::Git => _ = place.run(&["commit", "--quiet", "--only", "-m", message, "--", &name])?,
    }
    Ok(place.tool)
}

/// Describes jj's working-copy change and begins the next one.
///
/// # Errors
/// As [`Location::of`]; a working copy that jj does not keep; what jj answers.
pub fn describe_and_begin(directory: &Path, message: &str) -> Result<()> {
    let place = Location::of(directory)?;
    if place.tool != Tool::Jj {
        bail!("{} is kept by git, and --jj-describe is for jj: commit it with the printed text", place.root.display());
    }
    place.run(&["describe", "-m", message])?;
    place.run(&["new"])?;
    Ok(())
}

/// The file's working copy, and its name there.
fn placed(file: &Path) -> Result<(Location, String)> {
    let real = file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
    let place = Location::of(real.parent().unwrap_or(Path::new("/")))?;
    let name = real.strip_prefix(&place.root).with_context(|| format!("{} lies outside", real.display()))?;
    let name = name.to_str().with_context(|| format!("the name {} is not UTF-8", name.display()))?;
    Ok((place, name.to_string()))
}

/// jj's fileset for one file, whatever characters its name has.
fn exactly(name: &str) -> String {
    format!("root-file:{}", serde_json::Value::from(name))
}
