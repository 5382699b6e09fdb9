//! `perf.data` by way of `perf script`: its format is perf's own affair and changes with it. Invariant: perf's error
//! is told in perf's words, and nothing it printed before is used.

use super::perf_script::{PRINT, Script, read};
use crate::child;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// Fields that not every recording has; one that perf misses is left out.
const FIELDS: [&str; 8] = ["comm", "pid", "tid", "time", "period", "event", "ip", "sym,dso"];

/// Reads a recording.
///
/// # Errors
/// perf is not there or refuses the file; see [`read`].
pub(super) fn read_recording(path: &Path, pid: Option<u32>, inlines: bool) -> Result<Script> {
    let mut fields = FIELDS.to_vec();
    loop {
        let (script, errors, succeeded) = script(path, &fields.join(","), pid, inlines)?;
        if succeeded {
            return script;
        }
        // `Cannot print 'period' field.`
        let lacking =
            errors.split_once("Cannot print '").and_then(|(_, rest)| rest.split_once('\'')).map(|(field, _)| field);
        let Some(at) = fields.iter().position(|field| Some(*field) == lacking) else {
            let said = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
            bail!(
                "perf script cannot read it: {}; use the perf that recorded it, see `perf script -i {}`",
                said.trim(),
                path.display()
            );
        };
        fields.remove(at);
    }
}

fn script(path: &Path, fields: &str, pid: Option<u32>, inlines: bool) -> Result<(Result<Script>, String, bool)> {
    let mut command = Command::new("perf");
    child::without_secrets(&mut command);
    command.args(["script", "--force", "-F", fields, "-i"]).arg(path);
    if !inlines {
        command.arg("--no-inline");
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| {
        anyhow!(
            "perf cannot be started ({error}), and only perf reads a perf.data: install it (linux-perf, linux-tools), \
                or where it was \
             recorded run `{PRINT} > FILE` and import that FILE"
        )
    })?;
    let mut errors = child.stderr.take().context("perf's errors cannot be read")?;
    // Read at the same time as its output: perf stops where nobody takes its warnings.
    let said = std::thread::Builder::new().spawn(move || {
        let mut said = Vec::new();
        let _ = errors.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let said = said.context("there is no thread to read what perf says")?;
    let output = child.stdout.take().context("perf's output cannot be read")?;
    let script = read(BufReader::with_capacity(1 << 18, output), pid);
    let status = child.wait().context("perf script")?;
    Ok((script, said.join().unwrap_or_default(), status.success()))
}
