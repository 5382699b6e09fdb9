//! A statement's text without its constants. Invariant: texts that differ in constants, comments and blanks alone are
//! one text, and no constant is left in it; `src/wire/bpf/uses.h` hashes by the same rules.

/// What is being left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Text,
    Quotes { escapes: bool, skip: bool },
    Comment,
    LineComment,
    Number,
}

/// The text with `?` for each constant, without comments, and with one space for blanks in a row.
pub fn without_constants(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    let (mut within, mut before) = (Within::Text, '\0');
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    for c in text.trim().chars() {
        let last = std::mem::replace(&mut before, c);
        match within {
            Within::Quotes { skip: true, escapes } => within = Within::Quotes { escapes, skip: false },
            Within::Quotes { escapes: true, .. } if c == '\\' => within = Within::Quotes { escapes: true, skip: true },
            Within::Quotes { .. } if c == '\'' => within = Within::Text,
            Within::Quotes { .. } => {}
            Within::Comment => {
                if c == '/' && last == '*' {
                    (within, before) = (Within::Text, ' ');
                }
            }
            Within::LineComment => {
                if c == '\n' {
                    within = Within::Text;
                }
            }
            Within::Number if is_word(c) || c == '.' => {}
            Within::Number | Within::Text => {
                within = Within::Text;
                if c.is_ascii_whitespace() {
                    if !shape.is_empty() && !shape.ends_with(' ') {
                        shape.push(' ');
                    }
                } else if c == '\'' {
                    within = Within::Quotes { escapes: last.eq_ignore_ascii_case(&'e'), skip: false };
                    // A doubled quote within a constant.
                    if last != '\'' {
                        shape.push('?');
                    }
                } else if (c == '*' && last == '/') || (c == '-' && last == '-') {
                    within = if c == '*' { Within::Comment } else { Within::LineComment };
                    shape.pop();
                    before = '\0';
                } else if c.is_ascii_digit() && !is_word(last) && last != '$' {
                    within = Within::Number;
                    shape.push('?');
                } else {
                    shape.push(c);
                }
            }
        }
    }
    shape.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::without_constants;

    #[test]
    fn constants_and_comments_go_and_what_names_things_stays() {
        for (text, shape) in [
            ("SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1"),
            ("select 'it''s', 4.5e3, t1.c2\n from t1 ", "select ?, ?, t1.c2 from t1"),
            ("insert into t values (1, 'a'), (-2,'b')", "insert into t values (?, ?), (-?,?)"),
            (r"select E'a\'b', 'C:\', x", "select E?, ?, x"),
            ("/* trace='12' */ select 1 -- and '7'\n, 2", "select ? , ?"),
            ("select \"Weird 7\", x'ff', $12, a->>'k'", "select \"Weird ?\", x?, $12, a->>?"),
            ("", ""),
        ] {
            assert_eq!(without_constants(text), shape, "{text}");
        }
    }
}
