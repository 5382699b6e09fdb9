//! The tokens of SQL as psql's lexer finds them (PostgreSQL, `src/fe_utils/psqlscan.l`), as far as it takes to see
//! where a statement ends. Invariant: tokens cover the text without a gap; an unclosed quote or comment reaches to the
//! end.

/// What begins a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// White space or a comment.
    Blank,
    /// A keyword or an identifier without quotes.
    Word(&'a str),
    Semicolon,
    Open,
    Close,
    /// `\name` outside quotes: a command of psql's own.
    Command(&'a str),
    Other,
}

/// The tokens of a text, each with where it stands.
pub fn tokens(sql: &str) -> impl Iterator<Item = (Token<'_>, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = sql.get(at..).filter(|rest| !rest.is_empty())?;
        let (token, length) = token(rest);
        at += length;
        Some((token, at - length..at))
    })
}

/// The first token of a text that is not empty, and its length.
fn token(rest: &str) -> (Token<'_>, usize) {
    let first = rest.chars().next().unwrap_or_default();
    let length = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
    match first {
        c if is_blank(c) => (Token::Blank, length(is_blank)),
        '-' if rest.starts_with("--") => (Token::Blank, rest.find(['\n', '\r']).unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (Token::Blank, block_comment(rest)),
        '\'' => (Token::Other, string(rest, false)),
        '"' => (Token::Other, closed(rest, 1, "\"")),
        '$' => (Token::Other, dollar_tag(rest).map_or(1, |tag| closed(rest, tag.len(), tag))),
        ';' => (Token::Semicolon, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        '\\' => {
            let name = rest[1..].find(|c: char| is_blank(c) || c == '\\').unwrap_or(rest.len() - 1);
            // psql's `\;`, `\:` and `\\` are whole by themselves.
            let length = if rest[1..].starts_with([';', ':', '\\']) { 2 } else { 1 + name };
            (Token::Command(&rest[..length]), length)
        }
        c if is_letter(c) => {
            let length = length(|c| is_letter(c) || c.is_ascii_digit() || c == '$');
            if rest[..length].eq_ignore_ascii_case("e") && rest[length..].starts_with('\'') {
                return (Token::Other, length + string(&rest[length..], true));
            }
            (Token::Word(&rest[..length]), length)
        }
        // A number with what belongs to it, so that the e of 1e5 is no word.
        c if c.is_ascii_digit() => (Token::Other, length(|c| c.is_ascii_alphanumeric() || c == '_')),
        c => (Token::Other, c.len_utf8()),
    }
}

/// What psql's lexer takes for white space; all else that is none of ASCII is a letter to it, such as a no-break space.
pub fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// Length up to and with the next `close`.
fn closed(rest: &str, from: usize, close: &str) -> usize {
    rest[from..].find(close).map_or(rest.len(), |end| from + end + close.len())
}

/// Length of a string in quotes. Where `escapes`, as in `E'...'`, a backslash takes what follows it along. A string
/// goes on in the next line's quotes.
fn string(rest: &str, escapes: bool) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest.as_bytes()[at] {
            b'\\' if escapes => at += 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8),
            b'\'' if rest[at + 1..].starts_with('\'') => at += 2,
            b'\'' => match continued(&rest[at + 1..]) {
                Some(gap) => at += 1 + gap + 1,
                None => return at + 1,
            },
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of the gap after a quote where another one follows it on a later line: the SQL standard's continued strings.
fn continued(rest: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let gap = &rest[at..];
        at += gap.len() - gap.trim_start_matches(is_blank).len();
        if rest[at..].starts_with("--") && rest[..at].contains(['\n', '\r']) {
            at += rest[at..].find(['\n', '\r']).unwrap_or(rest.len() - at);
            continue;
        }
        return (rest[at..].starts_with('\'') && rest[..at].contains(['\n', '\r'])).then_some(at);
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
    let word =
        name.chars().all(|c| is_letter(c) || c.is_ascii_digit()) && !name.starts_with(|c: char| c.is_ascii_digit());
    word.then_some(&rest[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken as one token of a kind that holds no words.
    fn others(sql: &str) -> Vec<&str> {
        tokens(sql).filter(|(token, _)| *token == Token::Other).map(|(_, at)| &sql[at]).collect()
    }

    #[test]
    fn a_string_ends_where_psql_ends_it() {
        for sql in [
            r"E'it\';s'",
            r"e'\\'",
            r"E'a''b\'c'",
            "'a''b'",
            r"'a\'",
            "'a'\n  'b;'",
            "E'a' \n -- c\n 'b\\';'",
            "\"a\"",
            "$$;'$$",
            "$é1$;$$;$é1$",
            "'é;",
        ] {
            assert_eq!(others(sql), [sql], "{sql}");
        }
        assert_eq!(others("'a' 'b'"), ["'a'", "'b'"], "on one line these are two");
        assert_eq!(others(r"namee'a\'"), [r"'a\'"], "the e is the end of a name");
        assert_eq!(others("a$b$c"), [""; 0], "a dollar inside a name begins no quote");
        assert_eq!(others("1e5"), ["1e5"]);
    }

    #[test]
    fn commands_of_psql_are_told_from_a_backslash_in_quotes() {
        let commands = |sql| -> Vec<&str> {
            let command = |(token, _)| if let Token::Command(name) = token { Some(name) } else { None };
            tokens(sql).filter_map(command).collect()
        };
        assert_eq!(
            commands("\\set a 1\nselect '\\x', E'\\n' \\gset p_ \\; \\\\ \\"),
            ["\\set", "\\gset", "\\;", "\\\\", "\\"]
        );
        assert_eq!(commands("-- \\a\n/* \\b /* \\c */ \\d */ $$\\e$$ \"\\f\""), [""; 0]);
    }

    #[test]
    fn tokens_cover_the_text() {
        for sql in ["select é'a\\", "/* /* */", "$$", "$1 $é", "E'", "E'\\", "'\\é", "\\é;", "--", "a\r\nb", "'a'\n--"]
        {
            let whole: String = tokens(sql).map(|(_, at)| &sql[at]).collect();
            assert_eq!(whole, sql);
        }
    }
}
