//! Recorded statement statistics: the CSV that psql's `\copy (select ... from pg_stat_statements) to ... csv header`
//! writes (RFC 4180: quoted fields may hold commas, doubled quotes and line breaks). Invariant: columns are found by
//! their names, a record of another length than the header is an error with its line, and planning that nobody
//! tracked is `None`.

use super::{StatementRow, StatementsError, StatementsSnapshot};
use crate::clock::Span;

const NANOS_PER_MS: f64 = 1e6;

/// Reads one recorded snapshot of pg_stat_statements.
///
/// # Errors
/// An empty file, a column that is not there, or a record of another length than the header or with no number
/// where one belongs; each with its line.
pub fn read_csv(text: &str, source: &str, span: Span) -> Result<StatementsSnapshot, StatementsError> {
    let mut records = records(text.trim_start_matches('\u{feff}'))?.into_iter();
    let (_, header) = records.next().ok_or(StatementsError::Csv { line: 1, why: "the file is empty".into() })?;
    let find = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|h| h == name));
    let need = |names: &[&str]| {
        find(names).ok_or_else(|| StatementsError::Csv { line: 1, why: format!("no column `{}`", names[0]) })
    };
    let (id, calls, query) = (need(&["queryid"])?, need(&["calls"])?, need(&["query"])?);
    let (exec, rows) = (need(&["total_exec_time", "total_time"])?, need(&["rows"])?);
    let (plan, plans) = (find(&["total_plan_time"]), find(&["plans"]));
    let others = ["userid", "dbid", "toplevel"].map(|name| find(&[name]));
    // PostgreSQL 13 and later have the columns, with zeros unless `pg_stat_statements.track_planning` was on.
    let mut planning = false;
    let mut read = |(line, record): (usize, Vec<String>)| {
        let number = |at: usize| {
            let bad = |_| StatementsError::Csv { line, why: format!("`{}` is no number ({})", record[at], header[at]) };
            record[at].parse::<f64>().map_err(bad)
        };
        if record.len() != header.len() {
            let why = format!("{} fields, the header has {}", record.len(), header.len());
            return Err(StatementsError::Csv { line, why });
        }
        // Without an id the text is what tells statements apart.
        let own = if record[id].is_empty() { &record[query] } else { &record[id] };
        planning |= plans.or(plan).map(number).transpose()?.is_some_and(|planned| planned > 0.0);
        let key = others.iter().flatten().fold(own.clone(), |key, &at| format!("{key}/{}", record[at]));
        Ok(StatementRow {
            key,
            query: record[query].clone(),
            calls: number(calls)? as u64,
            rows: number(rows)? as u64,
            exec: number(exec)? * NANOS_PER_MS,
            plan: plan.map(number).transpose()?.map(|ms| ms * NANOS_PER_MS),
            ..StatementRow::default()
        })
    };
    let mut rows = records.map(&mut read).collect::<Result<Vec<_>, _>>()?;
    if !planning {
        rows.iter_mut().for_each(|row| row.plan = None);
    }
    Ok(StatementsSnapshot { source: source.to_string(), span, rows })
}

/// All records with the line each starts on.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, StatementsError> {
    let mut records = Vec::new();
    let (mut record, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let (mut line, mut start) = (1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap_or_default()),
            '"' => quoted = !quoted,
            _ if quoted => field.push(c),
            ',' => record.push(std::mem::take(&mut field)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                record.push(std::mem::take(&mut field));
                records.push((start, std::mem::take(&mut record)));
                start = line;
            }
            _ => field.push(c),
        }
    }
    if quoted {
        return Err(StatementsError::Csv { line: start, why: "a quoted field is never closed".to_string() });
    }
    if !record.is_empty() || !field.is_empty() {
        record.push(field);
        records.push((start, record));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<StatementRow>, String> {
        read_csv(text, "test", Span::new(0, 0)).map(|s| s.rows).map_err(|e| e.to_string())
    }

    #[test]
    fn quoted_fields_hold_line_breaks_commas_and_quotes() {
        let text = "\u{feff}queryid,calls,total_exec_time,rows,query\r\n\
                    -1,2,1.5,3,\"select \"\"a\"\",\r\n  b\"\n7,1,0.25,0,rollback";
        let row = |key: &str, query: &str, calls, rows, exec| StatementRow {
            key: key.into(),
            query: query.into(),
            calls,
            rows,
            exec,
            ..StatementRow::default()
        };
        let wanted = vec![row("-1", "select \"a\",\r\n  b", 2, 3, 1.5e6), row("7", "rollback", 1, 0, 0.25e6)];
        assert_eq!(read(text), Ok(wanted));
    }

    #[test]
    fn the_older_names_and_planning_are_understood() {
        let rows = read("queryid,userid,calls,total_time,total_plan_time,rows,query\n1,10,1,2,3,0,x\n").unwrap();
        assert_eq!((rows[0].key.as_str(), rows[0].exec, rows[0].plan), ("1/10", 2e6, Some(3e6)));
        let rows = read("queryid,calls,total_time,rows,query\n,1,2,0,x\n,1,2,0,y\n").unwrap();
        assert_eq!((rows[0].key.as_str(), rows[1].key.as_str()), ("x", "y"), "statements without an id");
    }

    #[test]
    fn planning_that_was_not_tracked_is_not_measured() {
        let plans = |text: &str| read(text).unwrap().iter().map(|row| row.plan).collect::<Vec<_>>();
        let head = "queryid,plans,total_plan_time,calls,total_exec_time,rows,query\n";
        assert_eq!(plans(&format!("{head}1,0,0,5,2,5,x\n2,0,0,7,2,5,y\n")), [None, None]);
        // One statement is planned each time, the other has its plan for good.
        assert_eq!(plans(&format!("{head}1,0,0,5,2,5,x\n2,7,3.5,7,2,5,y\n")), [Some(0.0), Some(3.5e6)]);
        let head = "queryid,total_plan_time,calls,total_exec_time,rows,query\n";
        assert_eq!(plans(&format!("{head}1,0,5,2,5,x\n2,0,7,2,5,y\n")), [None, None]);
        assert_eq!(plans(&format!("{head}1,0,5,2,5,x\n2,0.5,7,2,5,y\n")), [Some(0.0), Some(0.5e6)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let head = "queryid,calls,total_exec_time,rows,query\n";
        let wrong = |text: &str| read(text).unwrap_err();
        assert!(wrong("").contains("line 1: the file is empty"));
        assert!(wrong("queryid,calls,rows,query\n").contains("no column `total_exec_time`"));
        assert!(wrong(&format!("{head}1,2,3,4,\"a\nb\"\n1,2\n")).contains("line 4: 2 fields, the header has 5"));
        assert!(wrong(&format!("{head}1,x,3,4,q\n")).contains("line 2: `x` is no number (calls)"));
        assert!(wrong(&format!("{head}1,2,3,4,\"q\n")).contains("line 2: a quoted field is never closed"));
    }
}
