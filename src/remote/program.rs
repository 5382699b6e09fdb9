//! This program on another host: what it is called there, and the shell commands that start it, put it there and take
//! it away. Invariant: what runs there is byte for byte what runs here, so that the two understand each other.

use anyhow::{Context, Result};
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{Read, Write};

/// Where a kernel shows the running program, even if its file was replaced.
const OWN: &str = "/proc/self/exe";
/// The line before the first message, behind whatever a login shell prints.
pub const READY: &str = "wireprof is there";
/// The line where the program is not there, with the kernel's and the processor's names behind it.
pub const ABSENT: &str = "wireprof is absent on";
/// The hidden verb that serves over standard input and output.
pub const VERB: &str = "observe-for-another-host";
/// The hidden verb that drives load for another host, over the same.
pub const LOAD_VERB: &str = "load-for-another-host";

/// The running program's name on other hosts: its version, length and checksum.
///
/// # Errors
/// The program's own file cannot be read.
pub fn own_name() -> Result<String> {
    let mut file = File::open(OWN).context("this program's own file cannot be read")?;
    let (mut hasher, mut length, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        length += read;
    }
    Ok(format!("wireprof-{}-{length:x}-{:08x}", env!("CARGO_PKG_VERSION"), hasher.finalize()))
}

/// Where the program lies there, as a shell finds it.
fn directory() -> &'static str {
    "${XDG_CACHE_HOME:-$HOME/.cache}/wireprof/programs"
}

/// Starts it: the one at `path` where the user names one, else the copy; says so where there is none.
pub fn start(name: &str, path: Option<&str>, sudo: bool, verb: &str) -> String {
    let sudo = if sudo { "sudo -n " } else { "" };
    let program = path.map_or_else(|| format!("{}/{name}", directory()), quoted_inside);
    shell(&format!(
        "p=\"{program}\"; if [ -x \"$p\" ]; then exec {sudo}\"$p\" {verb}; fi; echo \"{ABSENT} $(uname -sm)\""
    ))
}

/// Copies what comes on standard input there, packed by gzip, and gives it its name only when it is whole.
pub fn install(name: &str) -> String {
    let directory = directory();
    shell(&format!(
        "d=\"{directory}\"; t=\"$d/.{name}.$$\"; umask 077; trap \"rm -f \\\"$t\\\"\" EXIT; \
         mkdir -p \"$d\" && gzip -dc >\"$t\" && chmod 755 \"$t\" && mv \"$t\" \"$d/{name}\""
    ))
}

/// Takes every copy away.
pub fn remove() -> String {
    shell(&format!("d=\"{}\"; rm -f \"$d\"/wireprof-* && rmdir \"$d\" 2>/dev/null; :", directory()))
}

/// For whatever shell the user has there: no quote of this kind is in the commands.
fn shell(command: &str) -> String {
    debug_assert!(!command.contains('\''));
    format!("exec sh -c '{command}'")
}

/// A path of the user's inside double quotes, with nothing in it for a shell to follow.
fn quoted_inside(path: &str) -> String {
    path.chars()
        .filter(|c| *c != '\'')
        .flat_map(|c| "\"$`\\".contains(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// Packs the running program into a stream.
///
/// # Errors
/// Its own file cannot be read, or the stream's.
pub fn pack(into: impl Write) -> Result<()> {
    let mut file = File::open(OWN).context("this program's own file cannot be read")?;
    let mut packed = GzEncoder::new(into, Compression::fast());
    std::io::copy(&mut file, &mut packed)?;
    packed.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn run(command: &str, home: &std::path::Path, input: &[u8]) -> (String, bool) {
        let mut sh = Command::new("sh");
        sh.args(["-c", command]).env("HOME", home).env_remove("XDG_CACHE_HOME").stdin(Stdio::piped());
        let mut child = sh.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    #[test]
    fn a_program_is_put_there_whole_started_and_taken_away() {
        let home = tempfile::tempdir().unwrap();
        let (said, _) = run(&start("wireprof-1", None, false, VERB), home.path(), b"");
        assert!(said.starts_with(ABSENT) && said.contains("Linux"), "{said}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"#!/bin/sh\necho started with $1\n").unwrap();
        let packed = packed.finish().unwrap();
        let (_, whole) = run(&install("wireprof-1"), home.path(), &packed[..packed.len() - 9]);
        let programs = home.path().join(".cache/wireprof/programs");
        assert!(!whole && std::fs::read_dir(&programs).unwrap().count() == 0, "half of it leaves nothing");
        assert!(run(&install("wireprof-1"), home.path(), &packed).1);
        assert_eq!(run(&start("wireprof-1", None, false, VERB), home.path(), b"").0, format!("started with {VERB}\n"));
        let named = programs.join("wireprof-1").display().to_string();
        assert_eq!(
            run(&start("other", Some(&named), false, VERB), home.path(), b"").0,
            format!("started with {VERB}\n")
        );
        assert!(run(&remove(), home.path(), b"").1);
        assert!(!programs.exists());
    }

    #[test]
    fn a_path_of_the_users_is_no_shell_syntax() {
        let home = tempfile::tempdir().unwrap();
        let (said, _) = run(&start("x", Some("/no/$(echo out)/`id`/\"; echo more"), false, VERB), home.path(), b"");
        assert!(said.starts_with(ABSENT), "{said}");
    }
}
