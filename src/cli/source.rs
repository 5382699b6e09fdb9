//! The working copy that the server was built from, for verbs that measure.

use crate::run::{BuiltFrom, Missing};
use crate::vcs::working_copy;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Default)]
pub struct Source {
    /// Working copy (jj or git) that the server was built from: its revision goes into the run
    #[arg(long = "source", value_name = "DIR", value_parser = directory, help_heading = "Target")]
    directory: Option<PathBuf>,
}

/// A directory that is there, as an argument.
pub fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such directory".into()) }
}

impl Source {
    /// What the working copy is at, or why that is not known.
    pub fn read(&self) -> BuiltFrom {
        let Some(directory) = &self.directory else { return BuiltFrom::NotNamed };
        built_from(directory)
    }
}

/// What a working copy is at, or why that is not known.
pub fn built_from(directory: &Path) -> BuiltFrom {
    match working_copy(directory) {
        Ok(copy) => BuiltFrom::WorkingCopy(copy),
        Err(error) => BuiltFrom::Missing(Missing {
            what: "source".into(),
            why: format!("{error:#}"),
            remedy: "--source names a working copy of jj or git, and that tool must be installed".into(),
        }),
    }
}
