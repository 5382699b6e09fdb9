//! The results in an answer's bytes, for the few statements whose answers are looked into (PostgreSQL documentation,
//! "Message Formats"). Invariant: damaged bytes end the reading; they are no panic.

/// One result of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct QueryResult {
    /// The columns' names.
    pub columns: Vec<String>,
    pub rows: usize,
    /// The last row's values as text; NULL is empty.
    pub last: Vec<String>,
}

/// One for each statement of the answer.
pub fn results(mut answer: &[u8]) -> Vec<QueryResult> {
    let (mut found, mut open) = (Vec::new(), QueryResult::default());
    while let Some((&[tag, a, b, c, d], rest)) = answer.split_first_chunk::<5>() {
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        answer = rest;
        match tag {
            b'T' => open.columns = columns(body).unwrap_or_default(),
            b'D' => {
                open.rows += 1;
                open.last = values(body).unwrap_or_default();
            }
            b'C' | b'I' => found.push(std::mem::take(&mut open)),
            _ => {}
        }
    }
    found
}

fn count(body: &[u8]) -> Option<(usize, &[u8])> {
    body.split_first_chunk::<2>().map(|(count, rest)| (usize::from(u16::from_be_bytes(*count)), rest))
}

/// Names of a RowDescription: each is followed by 18 bytes about its column.
fn columns(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = count(body)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0)?;
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = rest.get(end + 1 + 18..)?;
    }
    Some(names)
}

fn values(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = count(body)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at_checked(length)?;
        values.push(String::from_utf8_lossy(value).into_owned());
        rest = after;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn each_statement_has_its_columns_and_its_last_row() {
        let described = [&b"\0\x02one\0"[..], &[0; 18], b"two\0", &[0; 18]].concat();
        let row = |value: &[u8]| [&b"\0\x02\0\0\0\x01"[..], value, &b"\xff\xff\xff\xff"[..]].concat();
        let answer = [
            message(b'T', &described),
            message(b'D', &row(b"1")),
            message(b'D', &row(b"2")),
            message(b'C', b"SELECT 2\0"),
            message(b'C', b"UPDATE 1\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        let text = |values: [&str; 2]| values.map(String::from).to_vec();
        let select = QueryResult { columns: text(["one", "two"]), rows: 2, last: text(["2", ""]) };
        assert_eq!(results(&answer), [select, QueryResult::default()]);
        for cut in 0..answer.len() {
            results(&answer[..cut]);
        }
        assert_eq!(results(&message(b'D', b"\xff\xff")), []);
    }
}
