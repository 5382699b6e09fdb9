//! A scrape of the server's metrics on disk. Invariant: it is written packed (a large server's is a megabyte of text,
//! of which gzip leaves a fourteenth), and read packed or as the text that earlier versions wrote.

use super::window_file::WindowFile;
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// `NAME.gz`.
pub(super) fn scrape_file(name: &str, text: &str) -> Result<WindowFile> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).with_context(|| format!("cannot pack {name}"))?;
    Ok(WindowFile::new(format!("{name}.gz"), packed.finish()?))
}

/// The file of a scrape, `NAME.gz` or `NAME`; `None`: there is neither.
pub(super) fn find_scrape(directory: &Path, name: &str) -> Option<PathBuf> {
    [format!("{name}.gz"), name.to_string()].map(|name| directory.join(name)).into_iter().find(|path| path.exists())
}

/// The text of such a file.
///
/// # Errors
/// A file that cannot be read or unpacked, by name.
pub(super) fn read_scrape(path: &Path) -> Result<String> {
    let read = || match path.extension().is_some_and(|extension| extension == "gz") {
        true => {
            let mut text = String::new();
            GzDecoder::new(File::open(path)?).read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(path),
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_written_packed_and_read_packed_or_as_text() {
        let directory = tempfile::tempdir().unwrap();
        let text = "queries_total 1\n".repeat(1_000);
        assert_eq!(find_scrape(directory.path(), "a.prom"), None);
        let file = scrape_file("a.prom", &text).unwrap();
        fs::write(directory.path().join(file.name), file.bytes).unwrap();
        let packed = find_scrape(directory.path(), "a.prom").unwrap();
        assert_eq!(packed, directory.path().join("a.prom.gz"));
        assert!(fs::metadata(&packed).unwrap().len() < 200);
        assert_eq!(read_scrape(&packed).unwrap(), text);
        fs::write(directory.path().join("b.prom"), &text).unwrap();
        let plain = find_scrape(directory.path(), "b.prom").unwrap();
        assert_eq!((read_scrape(&plain).unwrap(), plain), (text, directory.path().join("b.prom")));
        fs::write(&packed, "no gzip").unwrap();
        assert!(format!("{:#}", read_scrape(&packed).unwrap_err()).starts_with("cannot read "));
    }
}
