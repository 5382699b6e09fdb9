//! Where an export goes. Invariant: a file is overwritten only by an export of its own format.

use super::{Usage, output};
use crate::export::{Exported, begins_as_rows};
use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Stacks: a line for each thread's name and path, with its ns (inferno, flamegraph.pl)
    Folded,
    /// Stacks: profile.proto, gzipped (go tool pprof)
    Pprof,
    /// CPU samples by thread, traced queries as markers, throughput, p99 and populations over time
    /// (profiler.firefox.com)
    Firefox,
    /// Stacks: a profile for each level and group of threads (speedscope.app)
    Speedscope,
    /// Traced queries by connection, throughput, p99 and populations over time (ui.perfetto.dev)
    Chrome,
    /// Tables of `explain --full`: a line for each cell
    Csv,
    /// Tables of `explain --full`
    Markdown,
    /// As `explain --json`
    Json,
}

impl Format {
    /// One process' stacks.
    pub fn is_of_stacks(self) -> bool {
        matches!(self, Format::Folded | Format::Pprof | Format::Speedscope)
    }

    /// What names of its files end with.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Folded => "folded",
            Format::Pprof => "pb.gz",
            Format::Firefox => "firefox.json.gz",
            Format::Speedscope => "speedscope.json",
            Format::Chrome => "trace.json",
            Format::Csv => "csv",
            Format::Markdown => "md",
            Format::Json => "json",
        }
    }

    /// Whether a file's content begins as exports of this format do.
    fn wrote(self, content: &[u8]) -> bool {
        let unpacked = || {
            let mut first = [0; 8];
            GzDecoder::new(content).read_exact(&mut first).is_ok().then_some(first)
        };
        match self {
            Format::Folded => {
                let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let weight = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                line.len() > weight.len() && !weight.is_empty() && weight.iter().all(u8::is_ascii_digit)
            }
            // The first field of profile.proto: a sample's type.
            Format::Pprof => unpacked().is_some_and(|first| first[0] == 0x0a),
            Format::Firefox => unpacked().is_some_and(|first| first.starts_with(b"{\"meta\"")),
            Format::Speedscope => content.starts_with(b"{\"$schema\":\"https://www.speedscope.app/"),
            Format::Chrome => content.starts_with(b"{\"displayTimeUnit\""),
            Format::Csv => begins_as_rows(content),
            Format::Markdown => content.starts_with(b"# Run "),
            Format::Json => content.starts_with(b"{\"answer\""),
        }
    }
}

/// What was asked for with `-o`.
pub enum Destination {
    Output,
    File(PathBuf),
    Directory(PathBuf),
}

impl Destination {
    /// # Errors
    /// [`Usage`] where several files would go to one place.
    pub fn of(argument: Option<&str>, format: Format, files: &[Exported]) -> Result<Destination> {
        let destination = match argument {
            None => Destination::Directory(PathBuf::new()),
            Some("-") => Destination::Output,
            Some(path) if Path::new(path).is_dir() => Destination::Directory(path.into()),
            Some(path) => Destination::File(path.into()),
        };
        match (destination, argument) {
            (Destination::Output | Destination::File(_), Some(argument)) if files.len() > 1 => {
                let levels: Vec<String> = files.iter().filter_map(|file| Some(file.level?.to_string())).collect();
                let name = format.to_possible_value().map_or(String::new(), |value| value.get_name().to_string());
                Err(anyhow!(Usage(anyhow!(
                    "-o {argument}: a file of --format {name} holds one level, and the run has {}: choose one with \
                     --level, or name a directory",
                    levels.join(", ")
                ))))
            }
            (destination, _) => Ok(destination),
        }
    }

    /// Writes the files and answers with their paths; `None`: they went to standard output.
    ///
    /// # Errors
    /// [`Usage`] where there is another file of that name; a place that cannot be written to.
    pub fn write(
        &self,
        format: Format,
        files: &[Exported],
        name: impl Fn(&Exported) -> String,
    ) -> Result<Option<Vec<PathBuf>>> {
        let paths: Vec<PathBuf> = match self {
            Destination::Output => {
                files.iter().try_for_each(|file| output::bytes(&file.bytes).map(drop))?;
                return Ok(None);
            }
            Destination::File(path) => vec![path.clone()],
            Destination::Directory(directory) => files.iter().map(|file| directory.join(name(file))).collect(),
        };
        paths.iter().try_for_each(|path| check_free(path, format))?;
        for (path, file) in paths.iter().zip(files) {
            fs::write(path, &file.bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Some(paths))
    }
}

fn check_free(path: &Path, format: Format) -> Result<()> {
    match path.is_file().then(|| fs::read(path)) {
        Some(Ok(content)) if !content.is_empty() && !format.wrote(&content) => Err(anyhow!(Usage(anyhow!(
            "{} is there and is no earlier export of this format: name another file, or remove it",
            path.display()
        )))),
        _ => Ok(()),
    }
}
