//! Quoted label values, as expositions and selectors write them: `"..."` with the escapes `\\`, `\"` and `\n`. Any
//! other backslash stands for itself, as in Prometheus (`unreplace` of model/textparse/promparse.go): `"5\d\d"` is a
//! pattern that people write. Invariant: `read(escape(x))` gives `x` back.

/// Reads a quoted value at the start of `text`; answers it and the bytes it took, quotes included.
/// `None`: `text` does not start with a quote, or the quote is never closed.
pub(super) fn read(text: &str) -> Option<(String, usize)> {
    let body = text.strip_prefix('"')?;
    let end = body.find(['"', '\\'])?;
    if body.as_bytes()[end] == b'"' {
        return Some((body[..end].to_string(), end + 2));
    }
    read_escaped(body).map(|(value, length)| (value, length + 1))
}

/// The rare case: a value with at least one backslash. Answers the value and the bytes up to the closing quote's end.
fn read_escaped(body: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                plain @ ('\\' | '"') => value.push(plain),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

/// The value without its quotes, escaped so that [`read`] gives it back.
pub(super) fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_the_length_covers_both_quotes() {
        assert_eq!(read(r#""C:\\DIR\n\"x\"",y"#), Some(("C:\\DIR\n\"x\"".to_string(), 16)));
        assert_eq!(read(r#""a,b=}"}"#), Some(("a,b=}".to_string(), 7)));
        assert_eq!(read(r#""""#), Some((String::new(), 2)));
    }

    #[test]
    fn a_backslash_before_anything_else_stays() {
        assert_eq!(read(r#""5\d\d|\\d\.\t""#), Some((r"5\d\d|\d\.\t".to_string(), 15)));
        assert_eq!(read(r#""\ü" "#), Some((r"\ü".to_string(), 5)));
    }

    #[test]
    fn an_open_quote_is_not_a_value() {
        assert_eq!(read(r#""abc"#), None);
        assert_eq!(read(r#""abc\""#), None);
        assert_eq!(read("abc"), None);
    }

    #[test]
    fn writing_and_reading_give_the_value_back() {
        for value in ["", "a", "\\", "\"", "\n", "a\\nb", "ü,}=\"\\\n"] {
            let quoted = format!("\"{}\"", escape(value));
            assert_eq!(read(&quoted), Some((value.to_string(), quoted.len())));
        }
    }
}
