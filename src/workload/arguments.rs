//! The rows of a `query-args-file`: comma separated values as Go's encoding/csv reads them (quotes double inside
//! quotes, empty lines are skipped). Invariant: every row has at least one field.

use std::path::{Path, PathBuf};

/// Arguments for the parameters of a job's statements, one row an execution of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The file that they were read from.
    pub file: PathBuf,
    /// Character between two fields.
    pub delimiter: char,
    /// In the file's order, at least one.
    pub rows: Vec<Row>,
}

/// One row: its line in the file, from 1, and its fields as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub line: usize,
    pub fields: Vec<String>,
}

impl Arguments {
    /// Reads a whole file; what went wrong is said in words, for the option that named the file.
    ///
    /// # Errors
    /// No regular file, one that cannot be read or is not UTF-8, a quote that is not closed, or no rows.
    pub fn read(file: &Path, delimiter: char) -> Result<Self, String> {
        let kind = std::fs::metadata(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        if !kind.is_file() {
            return Err(format!("{} is no regular file, and all rows are read before the load", file.display()));
        }
        let text = super::text::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let rows = parse(&text, delimiter).map_err(|problem| format!("{}: {problem}", file.display()))?;
        if rows.is_empty() {
            return Err(format!("{} has no rows", file.display()));
        }
        Ok(Arguments { file: file.to_path_buf(), delimiter, rows })
    }
}

fn parse(text: &str, delimiter: char) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut reader = Reader { rest: text, line: 1, delimiter };
    while let Some(row) = reader.row()? {
        rows.push(row);
    }
    Ok(rows)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    delimiter: char,
}

impl Reader<'_> {
    fn row(&mut self) -> Result<Option<Row>, String> {
        while self.newline() {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields = vec![self.field()?];
        while let Some(rest) = self.rest.strip_prefix(self.delimiter) {
            self.rest = rest;
            fields.push(self.field()?);
        }
        if !self.rest.is_empty() && !self.newline() {
            return Err(format!("line {}: text follows a quoted field", self.line));
        }
        Ok(Some(Row { line, fields }))
    }

    fn newline(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) else {
            return false;
        };
        self.rest = rest;
        self.line += 1;
        true
    }

    fn field(&mut self) -> Result<String, String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([self.delimiter, '\n']).unwrap_or(self.rest.len());
            let field = self.rest[..end].strip_suffix('\r').unwrap_or(&self.rest[..end]);
            self.rest = &self.rest[field.len()..];
            return Ok(field.to_string());
        };
        let (mut field, mut rest, first) = (String::new(), quoted, self.line);
        loop {
            let end = rest.find('"').ok_or_else(|| format!("line {first}: a quoted field is not closed"))?;
            field.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            let Some(more) = rest.strip_prefix('"') else { break };
            field.push('"');
            rest = more;
        }
        self.line += field.matches('\n').count();
        self.rest = rest;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, delimiter: char) -> Vec<Vec<String>> {
        parse(text, delimiter).unwrap().into_iter().map(|row| row.fields).collect()
    }

    #[test]
    fn quotes_delimiters_and_line_ends_are_read_as_csv() {
        assert_eq!(fields("hello,world\r\n\nhola,tierra", ','), [["hello", "world"], ["hola", "tierra"]]);
        assert_eq!(fields("\"a,\"\"b\"\"\nc\",\n", ','), [["a,\"b\"\nc", ""]]);
        assert_eq!(fields("a,b\tc\n", '\t'), [["a,b", "c"]]);
    }

    #[test]
    fn rows_know_their_line_and_damage_is_said_with_it() {
        assert_eq!(parse("\"a\nb\"\n\nc\n", ',').unwrap()[1].line, 4);
        assert_eq!(parse("a\n\"b", ',').unwrap_err(), "line 2: a quoted field is not closed");
        assert_eq!(parse("\"a\"b\n", ',').unwrap_err(), "line 1: text follows a quoted field");
    }
}
