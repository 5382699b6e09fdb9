//! SQL files cut into statements at `;`. Invariant: a `;` inside quotes, dollar quotes or comments cuts nothing.

/// The statements of a script, trimmed, without their `;` and without empty ones.
pub fn statements(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        if rest.starts_with(';') {
            found.push(&sql[start..at]);
            start = at + 1;
        }
        at += skip(rest);
    }
    found.push(&sql[start..]);
    found.iter().map(|part| part.trim()).filter(|part| !only_comments(part)).map(String::from).collect()
}

/// Length of what begins `rest` and is to be taken as a whole; an unclosed quote reaches to the end.
fn skip(rest: &str) -> usize {
    let until = |from: usize, close: &str| rest[from..].find(close).map_or(rest.len(), |end| from + end + close.len());
    if rest.starts_with("--") {
        return until(2, "\n");
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    match rest.as_bytes()[0] {
        b'\'' => until(1, "'"),
        b'"' => until(1, "\""),
        b'$' => match dollar_tag(rest) {
            Some(tag) => until(tag.len(), tag),
            None => 1,
        },
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// PostgreSQL nests block comments.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest.as_bytes()[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `$tag$` at the start of `rest`; a `$1` is a parameter.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let name = &rest[1..end];
    let word = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    word.then_some(&rest[..=end])
}

fn only_comments(part: &str) -> bool {
    let mut rest = part.trim_start();
    while rest.starts_with("--") || rest.starts_with("/*") {
        rest = rest[skip(rest)..].trim_start();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_semicolons_outside_quotes_and_comments() {
        let sql = "select ';', \"a;b\" from t; -- no; cut\nselect $$;$$, $x$;$$;$x$, $1 /* ; /* ; */ ; */;\n;-- end\n";
        let expected = [
            "select ';', \"a;b\" from t".to_string(),
            "-- no; cut\nselect $$;$$, $x$;$$;$x$, $1 /* ; /* ; */ ; */".to_string(),
        ];
        assert_eq!(statements(sql), expected);
    }

    #[test]
    fn an_unclosed_quote_or_comment_reaches_to_the_end() {
        assert_eq!(statements("select 'a;b"), ["select 'a;b"]);
        assert_eq!(statements("select 1 /* a;b"), ["select 1 /* a;b"]);
        assert_eq!(statements("sélect 'é'; x"), ["sélect 'é'", "x"]);
    }
}
