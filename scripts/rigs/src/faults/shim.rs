//! A library that is preloaded into wireprof: its wall clock jumps, or its files fail (`shim.c`). Invariant: nothing is
//! wrong until it is told so, and then only in the processes of one round.

use super::ground::Place;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is wrong: `struct control`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrong {
    /// How far the wall clock is from what it was.
    pub seconds: i64,
    /// Files of the round's disk cannot be written, or read (EIO).
    pub writing: bool,
    pub reading: bool,
}

/// Compiles it.
pub fn make(directory: &Path) -> Result<PathBuf> {
    let [source, library] = ["shim.c", "shim.so"].map(|name| directory.join(name));
    std::fs::write(&source, include_str!("shim.c"))?;
    let mut compiler = Command::new("cc");
    let output = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").output();
    let output = output.context("cannot run cc")?;
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(library)
}

/// Has a command begin with the library, with nothing wrong.
pub fn preload(command: &mut Command, library: &Path, place: &Place) -> Result<()> {
    tell(place, Wrong::default())?;
    command.env("LD_PRELOAD", library).env("WIREPROF_FAULTS_CONTROL", control(place));
    command.env("WIREPROF_FAULTS_UNDER", place.disk());
    Ok(())
}

/// From now on this is wrong.
pub fn tell(place: &Place, wrong: Wrong) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let words = [wrong.seconds, wrong.writing.into(), wrong.reading.into()];
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(control(place))?;
    file.write_all_at(&words.map(i64::to_ne_bytes).concat(), 0).context("the shim's file")
}

fn control(place: &Place) -> PathBuf {
    place.root.join("wrong")
}
