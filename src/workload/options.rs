//! What the options of a dbbench script mean (memsql/dbbench, config.go). Invariant: every option that dbbench knows is
//! either honoured here or refused with its line and a remedy; so is every unknown one.

use super::arguments::Arguments;
use super::ini::{Property, Section, error};
use super::{Job, Pace, Work, Workload, WorkloadError, parse_duration, query_log, script, text};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const GLOBAL: &str = "duration, error";
const SCRIPT: &str = "query, query-file";
const JOB: &str = "query, query-file, query-log-file, query-args-file, query-args-delim, rate, batch-size, concurrency \
                   (or queue-depth), count, start, stop, multi-query-mode";

/// Turns sections into a workload.
///
/// # Errors
/// The first option that is unknown or cannot be honoured, with its line; a script without a job.
pub fn decode(sections: &[Section], directory: &Path, source: &str) -> Result<Workload, WorkloadError> {
    let reader = Reader { directory, source };
    let mut workload = Workload {
        source: None,
        duration: None,
        accepted_errors: Vec::new(),
        setup: Vec::new(),
        teardown: Vec::new(),
        jobs: Vec::new(),
    };
    for section in sections {
        match section.name.as_str() {
            "global" => reader.global(section, &mut workload)?,
            "setup" => workload.setup = reader.script(section)?,
            "teardown" => workload.teardown = reader.script(section)?,
            _ => workload.jobs.push(reader.job(section, workload.duration)?),
        }
    }
    if workload.jobs.is_empty() {
        let remedy = "add a section with a query, such as `[my job]` and `query=select 1`";
        return Err(error(source, 1, "the script has no job", remedy));
    }
    Ok(workload)
}

struct Reader<'a> {
    directory: &'a Path,
    source: &'a str,
}

/// The options of a job as they stand, before they are checked against each other.
#[derive(Default)]
struct Draft<'a> {
    statements: Vec<String>,
    log: Option<(&'a Property, PathBuf)>,
    arguments: Option<(&'a Property, PathBuf)>,
    delimiter: Option<(&'a Property, char)>,
    rate: Option<(&'a Property, f64)>,
    batch: Option<(&'a Property, u64)>,
    concurrency: Option<(&'a Property, usize)>,
    count: Option<u64>,
    start: Duration,
    stop: Option<(&'a Property, Duration)>,
    several: bool,
}

impl Reader<'_> {
    fn refuse<T>(
        &self,
        property: &Property,
        problem: impl std::fmt::Display,
        remedy: impl Into<String>,
    ) -> Result<T, WorkloadError> {
        Err(error(self.source, property.line, format!("`{}`: {problem}", property.name), remedy))
    }

    fn unknown<T>(&self, property: &Property, section: &Section, known: &str) -> Result<T, WorkloadError> {
        self.refuse(
            property,
            format!("no such option in section {:?}", section.name),
            format!("the options are {known}"),
        )
    }

    fn once(&self, section: &Section, repeatable: &[&str]) -> Result<(), WorkloadError> {
        let mut given = HashMap::new();
        for property in section.properties.iter().filter(|property| !repeatable.contains(&property.name.as_str())) {
            if let Some(earlier) = given.insert(property.name.as_str(), property.line) {
                return self.refuse(property, format!("already given on line {earlier}"), "remove one of the two");
            }
        }
        Ok(())
    }

    fn global(&self, section: &Section, workload: &mut Workload) -> Result<(), WorkloadError> {
        self.once(section, &["error"])?;
        for property in &section.properties {
            match property.name.as_str() {
                "duration" => workload.duration = Some(self.duration(property)?),
                "error" => workload.accepted_errors.push(self.sqlstate(property)?),
                _ => return self.unknown(property, section, GLOBAL),
            }
        }
        Ok(())
    }

    fn script(&self, section: &Section) -> Result<Vec<String>, WorkloadError> {
        let mut statements = Vec::new();
        for property in &section.properties {
            match property.name.as_str() {
                "query" => statements.push(self.query(property)?),
                "query-file" => statements.extend(self.query_file(property)?),
                _ => return self.unknown(property, section, SCRIPT),
            }
        }
        Ok(statements)
    }

    fn job(&self, section: &Section, duration: Option<Duration>) -> Result<Job, WorkloadError> {
        self.once(section, &["query", "query-file"])?;
        let mut draft = Draft::default();
        for property in &section.properties {
            self.job_option(property, section, &mut draft)?;
        }
        self.check_stop(&draft, section, duration)?;
        let pace = self.pace(&draft)?;
        let work = self.work(section, &mut draft)?;
        // A log's lines beyond `count` are not read, so nothing is left to be counted.
        let count = draft.count.filter(|_| draft.log.is_none());
        Ok(Job {
            name: section.name.clone(),
            work,
            pace,
            count,
            start: draft.start,
            stop: draft.stop.map(|(_, at)| at),
        })
    }

    fn job_option<'p>(
        &self,
        property: &'p Property,
        section: &Section,
        draft: &mut Draft<'p>,
    ) -> Result<(), WorkloadError> {
        match property.name.as_str() {
            "query" => draft.statements.push(self.query(property)?),
            "query-file" => draft.statements.extend(self.query_file(property)?),
            "query-log-file" => draft.log = Some((property, self.path(property))),
            "query-args-file" => draft.arguments = Some((property, self.path(property))),
            "query-args-delim" => draft.delimiter = Some((property, self.delimiter(property)?)),
            "query-results-file" => {
                let remedy =
                    "remove the line (rows are counted and checked anyway); run dbbench by itself for the rows";
                return self.refuse(
                    property,
                    "writing the rows would be charged to the load, so they are not kept",
                    remedy,
                );
            }
            "rate" => {
                let rate: f64 = self.number(property, "a number of executions per second")?;
                if !rate.is_finite() || rate < 0.0 {
                    return self.refuse(property, format!("{rate} is no rate"), "give a positive number per second");
                }
                draft.rate = (rate > 0.0).then_some((property, rate));
            }
            "batch-size" => draft.batch = Some((property, self.number(property, "a whole number")?)),
            "concurrency" | "queue-depth" => self.concurrency(property, draft)?,
            "count" => draft.count = Some(self.number(property, "a whole number")?).filter(|&count| count > 0),
            "start" => draft.start = self.duration(property)?,
            "stop" => draft.stop = Some((property, self.duration(property)?)).filter(|(_, at)| !at.is_zero()),
            "multi-query-mode" if property.value == "multi-connection" => draft.several = true,
            "multi-query-mode" => {
                return self.refuse(
                    property,
                    format!("no such mode: {:?}", property.value),
                    "write `multi-connection`",
                );
            }
            _ => return self.unknown(property, section, JOB),
        }
        Ok(())
    }

    fn concurrency<'p>(&self, property: &'p Property, draft: &mut Draft<'p>) -> Result<(), WorkloadError> {
        if let Some((earlier, _)) = draft.concurrency {
            let problem = format!("the same as `{}` on line {}", earlier.name, earlier.line);
            return self.refuse(property, problem, "remove one of the two");
        }
        let value: usize = self.number(property, "a whole number")?;
        if value == 0 {
            return self.refuse(property, "a job without connections sends nothing", "give at least 1");
        }
        draft.concurrency = Some((property, value));
        Ok(())
    }

    fn pace(&self, draft: &Draft) -> Result<Pace, WorkloadError> {
        let exclusive =
            [draft.concurrency.map(|(p, _)| p), draft.rate.map(|(p, _)| p), draft.log.as_ref().map(|(p, _)| *p)];
        let mut given: Vec<&Property> = exclusive.into_iter().flatten().collect();
        given.sort_by_key(|p| p.line);
        if let [first, second, ..] = given[..] {
            let problem = format!("excludes `{}` on line {}", first.name, first.line);
            return self.refuse(second, problem, "keep one of concurrency, rate and query-log-file");
        }
        match (draft.rate, draft.batch) {
            (Some((_, per_second)), batch) => {
                Ok(Pace::Rate { per_second, batch: batch.map_or(1, |(_, size)| size.max(1)) })
            }
            (None, Some((property, size))) if size > 0 => {
                self.refuse(property, "only batches with a rate have a size", "add `rate=`, or remove the line")
            }
            (None, _) if draft.log.is_some() => Ok(Pace::Recorded),
            (None, _) => Ok(Pace::Closed { concurrency: draft.concurrency.map_or(1, |(_, n)| n) }),
        }
    }

    fn work(&self, section: &Section, draft: &mut Draft) -> Result<Work, WorkloadError> {
        if let (Some((property, _)), None) = (draft.delimiter, &draft.arguments) {
            return self.refuse(property, "there is no `query-args-file` to delimit", "add one, or remove the line");
        }
        if let Some((property, path)) = &draft.log {
            if !draft.statements.is_empty() {
                return self.refuse(property, "excludes `query` and `query-file`", "put them into jobs of their own");
            }
            if let Some((arguments, _)) = draft.arguments {
                return self.refuse(
                    arguments,
                    "excludes `query-log-file`",
                    "write the values into the log's statements",
                );
            }
            let entries = query_log::read(path, draft.count);
            let entries =
                entries.or_else(|e| self.refuse(property, e, "give a file of `microseconds,statement` lines"));
            return Ok(Work::Log(Arc::new(entries?)));
        }
        match draft.statements.len() {
            0 => {
                let problem = format!("job {:?} has nothing to send", section.name);
                return Err(error(
                    self.source,
                    section.line,
                    problem,
                    "add `query=`, `query-file=` or `query-log-file=`",
                ));
            }
            1 => {}
            n if !draft.several => {
                let problem = format!("job {:?} has {n} statements", section.name);
                let remedy = "add `multi-query-mode=multi-connection`, or make a job of each";
                return Err(error(self.source, section.line, problem, remedy));
            }
            _ => {}
        }
        let arguments = match &draft.arguments {
            Some((property, path)) => {
                let read = Arguments::read(path, draft.delimiter.map_or(',', |(_, c)| c));
                Some(Arc::new(read.or_else(|e| self.refuse(property, e, "give a file of comma separated values"))?))
            }
            None => None,
        };
        Ok(Work::Statements { statements: std::mem::take(&mut draft.statements), arguments })
    }

    fn check_stop(&self, draft: &Draft, section: &Section, duration: Option<Duration>) -> Result<(), WorkloadError> {
        if duration.is_some_and(|duration| draft.start > duration) {
            let problem = format!("job {:?} starts after the script's duration", section.name);
            return Err(error(self.source, section.line, problem, "let it start earlier, or raise `duration`"));
        }
        let Some((property, stop)) = draft.stop else { return Ok(()) };
        if stop <= draft.start {
            return self.refuse(
                property,
                "the job stops before it starts",
                "give a later `stop`: both count from the start",
            );
        }
        if duration.is_some_and(|duration| stop > duration) {
            return self.refuse(
                property,
                "the job stops after the script's duration",
                "raise `duration`, or stop earlier",
            );
        }
        Ok(())
    }

    fn path(&self, property: &Property) -> PathBuf {
        self.directory.join(&property.value)
    }

    fn number<T: FromStr>(&self, property: &Property, what: &str) -> Result<T, WorkloadError> {
        let parsed = property.value.parse();
        parsed.or_else(|_| self.refuse(property, format!("{:?} is not {what}", property.value), format!("give {what}")))
    }

    fn duration(&self, property: &Property) -> Result<Duration, WorkloadError> {
        let remedy = "give a number with its unit, such as 20s, 1m30s or 250ms";
        parse_duration(&property.value)
            .map_or_else(|| self.refuse(property, format!("{:?} is no duration", property.value), remedy), Ok)
    }

    fn sqlstate(&self, property: &Property) -> Result<String, WorkloadError> {
        let code = property.value.as_str();
        if code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
            return Ok(code.into());
        }
        self.refuse(property, format!("{code:?} is no SQLSTATE"), "give five digits or capitals, such as 40001")
    }

    fn query(&self, property: &Property) -> Result<String, WorkloadError> {
        let sql = property.value.trim_end_matches(';').trim_end();
        self.check_statement(property, sql)?;
        Ok(sql.to_string())
    }

    fn query_file(&self, property: &Property) -> Result<Vec<String>, WorkloadError> {
        let path = self.path(property);
        let text = text::read(&path).or_else(|e| {
            self.refuse(property, format!("cannot read {}: {e}", path.display()), "give a readable file")
        })?;
        let statements = script::statements(&text).or_else(|refused| {
            self.refuse(property, format!("{}:{}: {}", path.display(), refused.line, refused.problem), refused.remedy)
        })?;
        if statements.is_empty() {
            return self.refuse(property, format!("{} has no statement", path.display()), "give a file with SQL in it");
        }
        for sql in &statements {
            self.check_statement(property, sql)?;
        }
        Ok(statements)
    }

    /// As dbbench: nothing that changes the session, since which connection serves which execution is not defined.
    fn check_statement(&self, property: &Property, sql: &str) -> Result<(), WorkloadError> {
        let Some(words) = script::words(sql) else {
            return self.refuse(property, "the statement is empty", "give a statement");
        };
        match (words.first().map(String::as_str), words.get(1).map(String::as_str)) {
            (Some("begin"), _) | (Some("start"), Some("transaction")) => self.refuse(
                property,
                "transactions over several statements are not supported",
                "send single statements",
            ),
            (Some("use"), _) => {
                self.refuse(property, "the database cannot be changed by a statement", "name it in the URL")
            }
            _ => Ok(()),
        }
    }

    fn delimiter(&self, property: &Property) -> Result<char, WorkloadError> {
        let inner = property.value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(&property.value);
        let unescaped = match inner {
            "\\t" => "\t",
            "\\\\" => "\\",
            other => other,
        };
        match unescaped.chars().collect::<Vec<_>>()[..] {
            [c] if !['"', '\r', '\n'].contains(&c) => Ok(c),
            _ => self.refuse(
                property,
                format!("{:?} is not one character", property.value),
                "write `\"\\t\"` or `\";\"`",
            ),
        }
    }
}
