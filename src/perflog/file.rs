//! The files of the log and of prompts. Invariant: a file is replaced whole or not at all, keeps its permissions, and a link to it stays a link.

use super::Document;
use super::bytes::{decode, encode};
use super::steps::Prompt;
use anyhow::{Context, Result};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Reads the log; one that does not exist is new and has only a title.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<Document> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"# Performance log\n".to_vec(),
        Err(error) => return Err(error).with_context(|| format!("cannot read the log {}", path.display())),
    };
    Ok(Document::parse(decode(&bytes)))
}

/// Replaces the log's file.
///
/// # Errors
/// A directory that cannot be written to, or a full disk; the old file is then unchanged.
pub fn write(path: &Path, log: &Document) -> Result<()> {
    write_bytes(path, &encode(log.text()))
}

/// Reads a prompt.
///
/// # Errors
/// A file that is not there or cannot be read.
pub fn read_prompt(path: &Path) -> Result<Prompt> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the prompt {}", path.display()))?;
    Ok(Prompt::parse(decode(&bytes)))
}

/// Replaces a prompt's file.
///
/// # Errors
/// As [`write()`].
pub fn write_prompt(path: &Path, prompt: &Prompt) -> Result<()> {
    write_bytes(path, &encode(prompt.text()))
}

/// Writes beside the file and renames over it.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = real.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::metadata(&real).map_or(0o644, |m| m.permissions().mode());
    let written = || -> std::io::Result<()> {
        let mut temporary = tempfile::Builder::new().prefix(".wireprof-").suffix(".tmp").tempfile_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        temporary.as_file().sync_all()?;
        temporary.persist(&real).map_err(|e| e.error)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}; it is as it was", path.display()))
}
