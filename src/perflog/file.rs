//! The files of the log and of prompts. Invariant: a file is replaced whole or not at all, keeps its permissions, and
//! a link to it stays a link.

use super::Document;
use super::bytes::{decode, encode};
use super::steps::Prompt;
use anyhow::{Context, Result, bail};
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
    Ok(Document::parse(text(path, &bytes)?))
}

/// The file as text. Single bytes that are not UTF-8 are kept; of a file that is none of it nothing would be
/// understood.
fn text(path: &Path, bytes: &[u8]) -> Result<String> {
    let utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    if utf_16 || bytes.contains(&0) {
        let what = if utf_16 { "is UTF-16" } else { "holds NUL bytes, so it is UTF-16 or no text" };
        bail!(
            "{} {what}, and is left as it is: save it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE > NEW)",
            path.display()
        );
    }
    Ok(decode(bytes))
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
    Ok(Prompt::parse(text(path, &bytes)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_as_a_whole_is_refused_by_name_and_single_bytes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.md");
        let with = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        let utf_16: Vec<u8> = "\u{feff}## Session 1: a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(with(&utf_16).unwrap_err().contains("is UTF-16"));
        assert!(with(&utf_16[2..]).unwrap_err().contains("NUL bytes"));
        assert_eq!(with(b"## Session 1: caf\xe9\n").unwrap().entries().len(), 1);
        let marked = with("\u{feff}## Session 2: b\n\n## Session 1: a\n".as_bytes()).unwrap();
        assert_eq!((marked.entries().len(), marked.next_number()), (2, 3));
        write(&path, &marked.with_entry("## Session 3: c\n")).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("\u{feff}## Session 3: c\n\n## Session 2: b\n"), "{written:?}");
    }
}
