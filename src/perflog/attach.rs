//! Attachments: pictures and profiles copied beside the log, linked from it. Invariant: attaching the same run twice
//! leaves the same bytes, in the log and in the copies.

use super::block::{Generated, Made};
use super::document::Document;
use super::file::write_bytes;
use super::kept::keep;
use crate::render::markdown_text;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Folder beside the log.
pub const FOLDER: &str = "flamegraphs";

/// A file to copy.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Number of clients that it shows.
    pub level: usize,
    /// `flamegraph, all`, `profile (pprof), replicate 1`
    pub what: String,
    /// The file to copy.
    pub from: PathBuf,
    /// Name of the copy; it has the run's id in it.
    pub name: String,
}

/// Copies the files into `flamegraphs/` beside `log`, which need not exist yet.
///
/// # Errors
/// A file that cannot be read or written, by name.
fn copy(log: &Path, attachments: &[Attachment]) -> Result<()> {
    let folder = log.parent().unwrap_or(Path::new("")).join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for attachment in attachments {
        let bytes = std::fs::read(&attachment.from)
            .with_context(|| format!("cannot read {} to attach it", attachment.from.display()))?;
        write_bytes(&folder.join(&attachment.name), &bytes)?;
    }
    Ok(())
}

/// Copies the files and splices the table of them into the log, replacing the run's earlier one.
///
/// # Errors
/// As `copy`; a log that the table cannot be put into, before anything is written.
pub fn attach(
    path: &Path,
    log: &Document,
    run: &str,
    attachments: &[Attachment],
    session: Option<u64>,
) -> Result<Document> {
    let table = Generated { key: format!("{run} attachments"), made: Made::now(), text: links(attachments) };
    let spliced = log.with_block(&table, session)?;
    copy(path, attachments)?;
    keep(path, &table)?;
    Ok(spliced)
}

/// The table of the links, whose texts and targets are file names of wireprof's own.
fn links(attachments: &[Attachment]) -> String {
    let mut sorted: Vec<&Attachment> = attachments.iter().collect();
    sorted.sort_by(|a, b| (a.level, &a.what, &a.name).cmp(&(b.level, &b.what, &b.name)));
    let row = |a: &&Attachment| {
        let [what, name] = [&a.what, &a.name].map(|text| markdown_text(text).replace('|', "\\|"));
        format!("| {} | {what} | [{name}]({FOLDER}/{}) |\n", a.level, a.name.replace(' ', "%20"))
    };
    let head = "| level | attachment | file |\n| ---: | --- | --- |\n";
    head.to_string() + &sorted.iter().map(row).collect::<String>()
}
