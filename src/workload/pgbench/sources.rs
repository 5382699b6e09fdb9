//! Which scripts a mix consists of: files and built-in ones with weights, as `pgbench -f` and `-b` take them.
//! Invariant: a variable that nothing sets is refused before the load, with its line.

use super::names::Names;
use super::{Action, Mix, Piece, Script, builtin, read};
use crate::workload::ini::error;
use crate::workload::{Job, Pace, Work, Workload, WorkloadError, text};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Set for every client by the load itself.
pub const AUTOMATIC: [&str; 4] = ["client_id", "default_seed", "random_seed", "scale"];
const BUILTIN: &str = "builtin:";

/// One script that was asked for.
struct Source<'a> {
    /// As it was written, without its weight.
    name: &'a str,
    weight: u32,
    text: String,
    file: bool,
}

/// Reads a workload: one script of dbbench's, or pgbench's scripts (`FILE[@WEIGHT]`, `builtin:NAME[@WEIGHT]`) with
/// variables that are set beforehand.
///
/// # Errors
/// A file that cannot be read, a line that cannot be honoured, or options that do not fit together.
pub fn load(wanted: &[String], defined: &[(String, String)]) -> Result<Workload, WorkloadError> {
    let sources = wanted.iter().map(|one| source(one)).collect::<Result<Vec<_>, _>>()?;
    let dbbench = |source: &&Source| source.file && is_dbbench(source);
    if let Some(script) = sources.iter().find(dbbench) {
        let refuse = |problem: &str, remedy: &str| {
            let (script, problem) = (script.name.into(), problem.into());
            Err(WorkloadError::Choice { script, problem, remedy: remedy.into() })
        };
        return match (sources.len(), defined.is_empty()) {
            (1, true) => Workload::load(Path::new(script.name)),
            (1, false) => refuse("is a script of dbbench's, which has no variables", "leave out -D"),
            _ => refuse("is a script of dbbench's, which is no part of a mix", "give it alone; its sections are a mix"),
        };
    }
    let mix = mix(&sources, defined)?;
    let file = sources.iter().find(|source| source.file).map(|source| PathBuf::from(source.name));
    let work = Work::Scripts(Arc::new(mix));
    let (name, pace) = ("transactions".into(), Pace::Closed { concurrency: 1 });
    let job = Job { name, work, pace, count: None, start: Duration::ZERO, stop: None };
    Ok(Workload { source: file, jobs: vec![job], ..Workload::none() })
}

fn source(wanted: &str) -> Result<Source<'_>, WorkloadError> {
    let refuse = |script: &str, problem: &str, remedy: String| {
        Err(WorkloadError::Choice { script: script.into(), problem: problem.into(), remedy })
    };
    let (name, weight) = match wanted.rsplit_once('@') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            let Ok(weight) = digits.parse() else {
                return refuse(wanted, "has a weight that is too large", "give a smaller one".into());
            };
            (name, weight)
        }
        _ => (wanted, 1),
    };
    if let Some(builtin) = name.strip_prefix(BUILTIN) {
        let Some((_, text)) = builtin::script(builtin) else {
            return refuse(name, "is no built-in script", format!("they are {}", builtin::NAMES.join(", ")));
        };
        return Ok(Source { name, weight, text, file: false });
    }
    let path = Path::new(name);
    let text = text::read(path).map_err(|cause| WorkloadError::Unreadable { path: path.to_path_buf(), cause })?;
    Ok(Source { name, weight, text, file: true })
}

/// By the name's ending, else by the first line that is no comment: a section or `name=value`.
fn is_dbbench(source: &Source<'_>) -> bool {
    let ending = Path::new(source.name).extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("ini") => true,
        Some("sql" | "pgbench" | "bench") => false,
        _ => {
            let mut lines = source.text.lines().map(str::trim).filter(|line| !line.is_empty());
            let first = lines.find(|line| !line.starts_with([';', '#'])).unwrap_or_default();
            let name = first.split('=').next().unwrap_or_default().trim();
            first.starts_with('[')
                || first.contains('=')
                    && !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }
    }
}

fn mix(sources: &[Source<'_>], defined: &[(String, String)]) -> Result<Mix, WorkloadError> {
    let mut names = Names::default();
    for name in AUTOMATIC {
        names.set(name);
    }
    let defined: Vec<(usize, String)> = defined.iter().map(|(name, value)| (names.set(name), value.clone())).collect();
    let mut scripts = Vec::new();
    for source in sources {
        let commands = read::read(&source.text, source.name, &mut names)?;
        if !commands.iter().any(|command| matches!(command.action, Action::Send(_))) {
            return Err(error(source.name, 1, "the script sends no statement", "write one, ended by `;`"));
        }
        let name = source.name.strip_prefix(BUILTIN).and_then(|name| builtin::script(name)).map(|(name, _)| name);
        let name = name.unwrap_or(source.name).to_string();
        scripts.push(Script { name, weight: source.weight, commands, statements: Vec::new() });
    }
    if scripts.iter().all(|script| script.weight == 0) {
        let (script, remedy) = (sources[0].name.into(), "give one of them a weight above 0".into());
        return Err(WorkloadError::Choice { script, problem: "has the weight 0, as all have".into(), remedy });
    }
    scripts
        .iter()
        .zip(sources)
        .try_for_each(|(script, source)| check_variables(script, source.name, &scripts, &names))?;
    let scale = names.set("scale");
    let wants_scale = names.is_used("scale") && defined.iter().all(|(slot, _)| *slot != scale);
    let names = names.into_names();
    for script in &mut scripts {
        script.statements = script.commands.iter().filter_map(|command| command.statement(&names)).collect();
    }
    Ok(Mix { scripts, names, defined, wants_scale })
}

/// A name outside quotes and brackets means a variable; where nothing can set it, the server would get the colon.
fn check_variables(script: &Script, source: &str, scripts: &[Script], names: &Names) -> Result<(), WorkloadError> {
    let keeps = |command: &super::Command| matches!(&command.action, Action::Send(sent) if sent.keep.is_some());
    if scripts.iter().flat_map(|script| &script.commands).any(keeps) {
        return Ok(());
    }
    for command in &script.commands {
        let Action::Send(statement) = &command.action else { continue };
        for piece in &statement.pieces {
            let Piece::Variable { slot, line: Some(line), .. } = piece else { continue };
            if !names.is_set(*slot) {
                let problem = format!("nothing sets the variable :{}", names.name(*slot));
                return Err(error(source, *line, problem, "set it by \\set, or by -D name=value"));
            }
        }
    }
    Ok(())
}
