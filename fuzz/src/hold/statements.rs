//! Recorded statement statistics. Invariant: each record is read whole, or the file is refused with its line.

use super::text;
use crate::clock::Span;
use crate::feed::Feed;
use crate::statements::{StatementsDelta, StatementsSnapshot, read_csv};

/// A CSV of any bytes, and one that psql could have written of these texts.
pub fn csv(bytes: &[u8]) {
    let read = |text: &str, at: u64| read_csv(text, "fuzzed", Span::new(at, at + 1));
    if let Ok(found) = read(&text(bytes), 0) {
        between(&found);
    }
    let mut feed = Feed(bytes);
    let mut written = "queryid,calls,rows,total_exec_time,query\n".to_string();
    let mut expected = Vec::new();
    while !feed.0.is_empty() && expected.len() < 20 {
        let (calls, rows, length) = (feed.half(), feed.half(), usize::from(feed.byte() % 32));
        let query = text(feed.take(length)).into_owned();
        let quoted = format!("\"{}\"", query.replace('"', "\"\""));
        written += &format!("{},{calls},{rows},1.5,{quoted}\n", expected.len());
        expected.push((u64::from(calls), u64::from(rows), query));
    }
    let found = read(&written, 0).unwrap_or_else(|why| panic!("{why}\n{written:?}"));
    let rows: Vec<_> = found.rows.iter().map(|row| (row.calls, row.rows, row.query.clone())).collect();
    assert_eq!(rows, expected);
    between(&found);
}

fn between(found: &StatementsSnapshot) {
    let nothing = StatementsSnapshot { rows: Vec::new(), ..found.clone() };
    assert!(StatementsDelta::between(found, found).statements.is_empty(), "nothing was called");
    let all = StatementsDelta::between(&nothing, found);
    assert!(all.statements.len() + all.hidden <= found.rows.len());
    StatementsDelta::between(found, &nothing);
}
