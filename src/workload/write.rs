//! A workload written as a dbbench script again, for the user's own dbbench. Invariant: what cannot be said in that
//! format is refused, so that dbbench never runs something else than our own loop would.

use super::sql::{Token, is_blank, tokens};
use super::{Job, Pace, Work, Workload, WorkloadError};
use std::fmt::Write;

/// The script with `connections[i]` for the job `i`. A job with a rate or a log keeps its pace; dbbench's pool bounds
/// its connections.
///
/// # Errors
/// A job that replays a log, or whose statements or files a script of dbbench cannot hold.
pub fn ini(workload: &Workload, connections: &[usize]) -> Result<String, WorkloadError> {
    let mut text = String::new();
    for code in &workload.accepted_errors {
        line(&mut text, "error", code);
    }
    for (job, &connections) in workload.jobs.iter().zip(connections) {
        write_job(&mut text, job, connections)?;
    }
    Ok(text)
}

fn write_job(text: &mut String, job: &Job, connections: usize) -> Result<(), WorkloadError> {
    let _ = writeln!(text, "\n[{}]", job.name);
    match &job.work {
        Work::Statements { statements, arguments } => {
            for sql in statements {
                line(text, "query", &single_line(job, sql)?);
            }
            if statements.len() > 1 {
                line(text, "multi-query-mode", "multi-connection");
            }
            if let Some(arguments) = arguments {
                line(text, "query-args-file", &absolute(job, &arguments.file)?);
                line(text, "query-args-delim", &format!("{:?}", arguments.delimiter.to_string()));
            }
        }
        Work::Log(_) | Work::Scripts(_) => {
            let remedy = "run it with the driver of our own, or run dbbench by itself".to_string();
            let log = matches!(job.work, Work::Log(_));
            let problem = if log { "replays a log" } else { "runs scripts of pgbench's" }.into();
            return Err(WorkloadError::Job { job: job.name.clone(), problem, remedy });
        }
    }
    match job.pace {
        Pace::Closed { .. } => line(text, "concurrency", &connections.to_string()),
        Pace::Rate { per_second, batch } => {
            line(text, "rate", &per_second.to_string());
            line(text, "batch-size", &batch.to_string());
        }
        Pace::Recorded => {}
    }
    if let Some(count) = job.count {
        line(text, "count", &count.to_string());
    }
    if !job.start.is_zero() {
        line(text, "start", &format!("{}ns", job.start.as_nanos()));
    }
    if let Some(stop) = job.stop {
        line(text, "stop", &format!("{}ns", stop.as_nanos()));
    }
    Ok(())
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name}={value}");
}

/// dbbench's queries stand on one line and hold no `;`.
fn single_line(job: &Job, sql: &str) -> Result<String, WorkloadError> {
    let refuse = |problem: &str, remedy: &str| {
        Err(WorkloadError::Job { job: job.name.clone(), problem: problem.into(), remedy: remedy.into() })
    };
    if sql.contains(';') {
        return refuse("has a statement with a `;`, which dbbench refuses", "rewrite it without");
    }
    if sql.trim().is_empty() {
        return refuse("has an empty statement, which dbbench refuses", "use `select 1`, or the driver of our own");
    }
    let breaks = |text: &str| text.contains(['\n', '\r']);
    if sql.contains("--") && breaks(sql) {
        return refuse("has a comment to the end of a line, and dbbench takes single lines", "remove the comment");
    }
    if tokens(sql).any(|(token, at)| token != Token::Blank && breaks(&sql[at])) {
        return refuse("has a line break within quotes, and dbbench takes single lines", "write it as E'\\n'");
    }
    // PostgreSQL's blanks: what else Unicode has of them is part of a name.
    let joined = sql.split(['\n', '\r']).map(|line| line.trim_matches(is_blank)).collect::<Vec<_>>().join(" ");
    if joined.trim().len() < joined.trim_matches(is_blank).len() {
        return refuse("begins or ends with a blank that is part of a name, which dbbench drops", "remove the blank");
    }
    if continues(&joined) {
        return refuse("has a statement that ends in a `\\`, which would join the next line to it", "remove the `\\`");
    }
    Ok(joined)
}

/// Whether a line of dbbench's script that ends so goes on in the next one.
fn continues(value: &str) -> bool {
    value.trim_end().ends_with('\\')
}

fn absolute(job: &Job, file: &std::path::Path) -> Result<String, WorkloadError> {
    let path = std::path::absolute(file).map_err(|cause| WorkloadError::Job {
        job: job.name.clone(),
        problem: format!("names {}, whose directory is unknown: {cause}", file.display()),
        remedy: "give an absolute path".into(),
    })?;
    let name = path.display().to_string();
    if continues(&name) {
        let problem = format!("names {name}, whose last `\\` would join the next line to it");
        return Err(WorkloadError::Job { job: job.name.clone(), problem, remedy: "rename the file".into() });
    }
    Ok(name)
}
