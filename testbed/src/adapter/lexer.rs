//! SQL text to tokens, for the few statements the testbed knows. Invariant: unquoted words are lower case, quoted ones
//! are as written, and nothing is dropped but white space and comments.

use super::SqlError;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A key word or an identifier.
    Word(String),
    /// `'text'`, with doubled quotes undone.
    Text(String),
    /// An integer or decimal literal as written.
    Number(String),
    Symbol(char),
}

pub fn tokenize(sql: &str) -> Result<Vec<Token>, SqlError> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            _ if first.is_whitespace() => first.len_utf8(),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => {
                rest.find("*/").ok_or_else(|| SqlError::syntax("unterminated comment"))? + 2
            }
            '\'' | '"' => {
                let (text, taken) = quoted(rest, first)?;
                tokens.push(if first == '"' { Token::Word(text) } else { Token::Text(text) });
                taken
            }
            _ if first.is_ascii_digit() => {
                let taken = length(rest, |c| c.is_ascii_digit() || c == '.');
                tokens.push(Token::Number(rest[..taken].to_owned()));
                taken
            }
            _ if first.is_alphabetic() || first == '_' => {
                let taken = length(rest, |c| c.is_alphanumeric() || c == '_');
                tokens.push(Token::Word(rest[..taken].to_lowercase()));
                taken
            }
            _ => {
                tokens.push(Token::Symbol(first));
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Ok(tokens)
}

fn length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The text between quotes and the bytes it takes with them.
fn quoted(text: &str, quote: char) -> Result<(String, usize), SqlError> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            content.push(character);
        } else if characters.peek().is_some_and(|(_, next)| *next == quote) {
            characters.next();
            content.push(quote);
        } else {
            return Ok((content, at + 1));
        }
    }
    Err(SqlError::syntax("unterminated quoted string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_numbers_and_comments_are_told_apart() {
        let tokens = tokenize("SELECT \"A\"\"b\" /* x */ = 'it''s', 12.5 -- end").unwrap();
        let word = |text: &str| Token::Word(text.to_owned());
        let expected = [
            word("select"),
            word("A\"b"),
            Token::Symbol('='),
            Token::Text("it's".to_owned()),
            Token::Symbol(','),
            Token::Number("12.5".to_owned()),
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn an_open_quote_or_comment_is_a_syntax_error() {
        assert_eq!(tokenize("select 'a").unwrap_err().code, "42601");
        assert_eq!(tokenize("select /* a").unwrap_err().code, "42601");
    }
}
