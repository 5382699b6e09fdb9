//! What stands in a log against what should stand there. Invariant: two texts that differ in a byte give at least one
//! difference, with its place; compared by value, what has no counterpart is counted and not judged.

use super::numbers::numbers;
use crate::perflog::document::lines;

/// One place where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Line of the text that stands there, from 0.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// Header of the table's column, and its row.
    pub what: Option<String>,
    pub stands: String,
    pub expected: String,
}

/// How two texts of different forms compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByValue {
    pub differences: Vec<Difference>,
    /// Numbers that had a counterpart.
    pub compared: usize,
    /// Numbers that had none.
    pub alone: usize,
}

/// Byte by byte, line breaks apart: the cells of tables and the words of other lines that differ.
pub fn exact(stands: &str, expected: &str) -> Vec<Difference> {
    let (stands, expected) = (plain(stands), plain(expected));
    let same = stands.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    let (rest, wanted) = (&stands[same..], &expected[same..]);
    let tail = rest.iter().rev().zip(wanted.iter().rev()).take_while(|(a, b)| a == b).count();
    let (rest, wanted) = (&rest[..rest.len() - tail], &wanted[..wanted.len() - tail]);
    let mut found = Vec::new();
    for index in 0..rest.len().max(wanted.len()) {
        let line = same + index;
        match (rest.get(index), wanted.get(index)) {
            (Some(stands_here), Some(wanted)) if stands_here != wanted => {
                found.extend(in_line(&stands, line, stands_here, wanted));
            }
            (Some(extra), None) => found.push(Difference::whole(line, extra, "")),
            (None, Some(missing)) => found.push(Difference::whole(line.min(same + rest.len()), "", missing)),
            _ => {}
        }
    }
    found
}

/// By the numbers of table rows that both have: the same heading, the same first cell.
pub fn by_value(stands: &str, expected: &str) -> ByValue {
    let (stands, expected) = (plain(stands), plain(expected));
    let (here, there) = (tables(&stands), tables(&expected));
    let mut result = ByValue::default();
    let outside = stands.iter().filter(|line| !line.starts_with('|')).map(|line| numbers(line).len());
    result.alone = outside.sum();
    for (index, table) in here.iter().enumerate() {
        let nth = here[..index].iter().filter(|earlier| earlier.header[0] == table.header[0]).count();
        let other = there.iter().filter(|other| other.header[0] == table.header[0]).nth(nth);
        table.rows.iter().for_each(|row| table.compare(row, other, &mut result));
    }
    result
}

impl Difference {
    fn whole(line: usize, stands: &str, expected: &str) -> Difference {
        Difference { line, column: 1, what: None, stands: stands.into(), expected: expected.into() }
    }
}

fn plain(text: &str) -> Vec<&str> {
    lines(text).map(|(_, range)| text[range].trim_end_matches(['\n', '\r'])).collect()
}

/// A part of a line: its first character from 1, and its text.
type Piece<'a> = (usize, &'a str);

fn in_line(all: &[&str], line: usize, stands: &str, expected: &str) -> Vec<Difference> {
    let table = stands.starts_with('|') && expected.starts_with('|');
    let pieces = if table { cells } else { words };
    let (here, there) = (pieces(stands), pieces(expected));
    if here.len() != there.len() {
        return vec![Difference::whole(line, stands, expected)];
    }
    let different = here.iter().zip(&there).enumerate().filter(|(_, (a, b))| a.1 != b.1);
    let mut found: Vec<Difference> = different
        .map(|(index, (a, b))| Difference {
            line,
            column: a.0,
            what: table.then(|| place_in_table(all, line, index)).flatten(),
            stands: a.1.into(),
            expected: b.1.into(),
        })
        .collect();
    if found.is_empty() {
        // Spaces alone.
        found.push(Difference::whole(line, stands, expected));
    }
    found
}

/// `throughput (q/s), row 64`
fn place_in_table(all: &[&str], line: usize, cell: usize) -> Option<String> {
    let above = all[..line].iter().rev().take_while(|line| line.starts_with('|')).count();
    let header = cells(all[line - above]);
    let (name, row) = (header.get(cell)?.1, cells(all[line]).first()?.1);
    Some(if cell == 0 { name.to_string() } else { format!("{name}, row {row}") })
}

/// The cells of a table's row; a bar after a backslash belongs to its cell.
pub fn cells(line: &str) -> Vec<Piece<'_>> {
    let mut bars: Vec<usize> = Vec::new();
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        if byte == b'|' && !escaped {
            bars.push(at);
        }
        escaped = byte == b'\\' && !escaped;
    }
    bars.windows(2)
        .map(|pair| {
            let cell = &line[pair[0] + 1..pair[1]];
            let from = pair[0] + 1 + cell.len() - cell.trim_start().len();
            (line[..from].chars().count() + 1, cell.trim())
        })
        .collect()
}

fn words(line: &str) -> Vec<Piece<'_>> {
    let begins = |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
    line.split_whitespace().map(|word| (line[..begins(word)].chars().count() + 1, word)).collect()
}

struct Table<'a> {
    header: Vec<&'a str>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    line: usize,
    cells: Vec<Piece<'a>>,
}

fn tables<'a>(lines: &[&'a str]) -> Vec<Table<'a>> {
    let mut found: Vec<Table> = Vec::new();
    let mut inside = false;
    for (line, text) in lines.iter().enumerate() {
        let cells = if text.starts_with('|') { cells(text) } else { Vec::new() };
        let rule = cells.iter().all(|(_, cell)| cell.chars().all(|c| matches!(c, '-' | ':')));
        match (cells.is_empty(), inside, found.last_mut()) {
            (true, ..) => inside = false,
            (_, true, Some(_)) if rule => {}
            (_, true, Some(table)) => table.rows.push(Row { line, cells }),
            _ => {
                found.push(Table { header: cells.iter().map(|(_, cell)| *cell).collect(), rows: Vec::new() });
                inside = true;
            }
        }
    }
    found
}

impl Table<'_> {
    /// The numbers of one row against the row of the same first cell.
    fn compare(&self, row: &Row, other: Option<&Table>, result: &mut ByValue) {
        let key = row.cells.first().map(|cell| cell.1);
        let counterpart = other.and_then(|other| {
            let row = other.rows.iter().find(|row| row.cells.first().map(|cell| cell.1) == key)?;
            Some((other, row))
        });
        for (index, (column, cell)) in row.cells.iter().enumerate() {
            let here = numbers(cell);
            let there = counterpart.and_then(|(other, row)| {
                let name = self.header.get(index)?;
                let index = other.header.iter().position(|other| other == name)?;
                row.cells.get(index).map(|cell| cell.1)
            });
            let Some(there) = there.filter(|there| numbers(there).len() == here.len()) else {
                result.alone += here.len();
                continue;
            };
            result.compared += here.len();
            if !here.iter().zip(numbers(there)).all(|(a, b)| a.agrees(&b)) {
                let what = self.header.get(index).map(|name| format!("{name}, row {}", key.unwrap_or_default()));
                let (stands, expected) = (cell.to_string(), there.to_string());
                result.differences.push(Difference { line: row.line, column: *column, what, stands, expected });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Levels:\n\n| level | q/s | p50 (µs) |\n| ---: | ---: | ---: |\n| 1 | 7,703 | 130 |\n| 64 | \
                         74,444 | 828 ±3 |\n\n60 of 60 passed.\n";

    fn places(found: &[Difference]) -> Vec<(usize, usize, &str, &str)> {
        found.iter().map(|d| (d.line, d.column, d.stands.as_str(), d.expected.as_str())).collect()
    }

    #[test]
    fn every_changed_digit_is_found_with_its_line_column_and_heading() {
        assert_eq!(exact(TABLE, &TABLE.replace('\n', "\r\n")), []);
        for (at, digit) in TABLE.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
            let other = if digit == '9' { '8' } else { '9' };
            let edited = format!("{}{other}{}", &TABLE[..at], &TABLE[at + 1..]);
            let found = exact(&edited, TABLE);
            assert_eq!((found.len(), found[0].line), (1, TABLE[..at].matches('\n').count()), "{edited}");
        }
        let found = exact(&TABLE.replace("74,444", "84,444"), TABLE);
        assert_eq!(places(&found), [(5, 8, "84,444", "74,444")]);
        assert_eq!(found[0].what.as_deref(), Some("q/s, row 64"));
        assert_eq!(places(&exact(&TABLE.replace("60 of", "61 of"), TABLE)), [(7, 1, "61", "60")]);
    }

    #[test]
    fn lines_that_were_added_or_taken_out_are_found() {
        let row = "| 1 | 7,703 | 130 |\n";
        assert_eq!(places(&exact(&TABLE.replace(row, ""), TABLE)), [(4, 1, "", row.trim())]);
        assert_eq!(places(&exact(&TABLE.replace(row, &row.repeat(2)), TABLE)), [(5, 1, row.trim(), "")]);
        assert_eq!(places(&exact(&TABLE.replace("| 64 |", "|  64 |"), TABLE)).len(), 1);
    }

    #[test]
    fn another_form_is_compared_by_value_and_what_has_no_counterpart_is_only_counted() {
        let other = "| level | p50 (µs) | new | q/s |\n| --- | --- | --- | --- |\n| 64 | 828.0 ±3.1 | 5 | 74,443.9 |\n";
        let same = by_value(TABLE, other);
        assert_eq!((same.differences.len(), same.compared, same.alone), (0, 4, 5));
        let edited = by_value(&TABLE.replace("74,444", "74,445"), other);
        assert_eq!(places(&edited.differences), [(5, 8, "74,445", "74,443.9")]);
    }
}
