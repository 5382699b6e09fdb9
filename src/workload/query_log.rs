//! The lines of a `query-log-file`: a time in microseconds and a statement, separated by a comma.
//! Invariant: offsets are relative to the first line and ascend.

use std::path::Path;
use std::time::Duration;

/// One recorded statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// After the job's start.
    pub offset: Duration,
    /// The SQL text, without blanks around it.
    pub statement: String,
}

/// Reads a log, at most `count` lines of it; what went wrong is said in words, for the option that named the file.
///
/// # Errors
/// A file that cannot be read or has no lines; a line without a time, or with one before that of the line
/// above.
pub fn read(file: &Path, count: Option<u64>) -> Result<Vec<LogEntry>, String> {
    let text = super::text::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let entries = parse(&text, count).map_err(|problem| format!("{}: {problem}", file.display()))?;
    if entries.is_empty() { Err(format!("{} has no lines", file.display())) } else { Ok(entries) }
}

fn parse(text: &str, count: Option<u64>) -> Result<Vec<LogEntry>, String> {
    let mut entries = Vec::new();
    let (mut first, mut last) = (None, 0);
    for (index, line) in text.lines().enumerate().take(count.map_or(usize::MAX, |count| count as usize)) {
        let number = index + 1;
        let (time, statement) =
            line.split_once(',').ok_or_else(|| format!("line {number}: {line:?} is no `microseconds,statement`"))?;
        let micros: u64 =
            time.trim().parse().map_err(|_| format!("line {number}: {time:?} is no number of microseconds"))?;
        if micros < last {
            return Err(format!("line {number}: the time {micros} lies before that of the line above, {last}"));
        }
        last = micros;
        let offset = Duration::from_micros(micros - *first.get_or_insert(micros));
        entries.push(LogEntry { offset, statement: statement.trim().to_string() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_the_first_line_and_the_statement_may_hold_commas() {
        let entries = parse("8644882534,insert into t values (1, 2)\n8644885780,select 1\n3,x", Some(2)).unwrap();
        let expected =
            |micros, statement: &str| LogEntry { offset: Duration::from_micros(micros), statement: statement.into() };
        assert_eq!(entries, [expected(0, "insert into t values (1, 2)"), expected(3246, "select 1")]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        assert_eq!(parse("x", None).unwrap_err(), "line 1: \"x\" is no `microseconds,statement`");
        assert_eq!(parse("1,a\nb,c", None).unwrap_err(), "line 2: \"b\" is no number of microseconds");
        assert_eq!(parse("5,a\n4,c", None).unwrap_err(), "line 2: the time 4 lies before that of the line above, 5");
    }
}
