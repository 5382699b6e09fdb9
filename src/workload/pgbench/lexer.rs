//! The lexemes of an expression. Invariant: every character of the text belongs to one, or is an error.

use super::value::Value;
use std::fmt;

/// One lexeme.
#[derive(Clone, Debug, PartialEq)]
pub enum Lexeme {
    Number(Value),
    /// 2^63, which only a minus makes an integer.
    LeastInteger,
    Variable(String),
    Word(String),
    Sign(&'static str),
}

impl Lexeme {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Lexeme::Word(found) if found.eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Lexeme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lexeme::Number(value) => write!(f, "{value}"),
            Lexeme::LeastInteger => f.write_str("9223372036854775808"),
            Lexeme::Variable(name) => write!(f, "`:{name}`"),
            Lexeme::Word(word) => write!(f, "`{word}`"),
            Lexeme::Sign(sign) => write!(f, "`{sign}`"),
        }
    }
}

/// Longer signs come before those that they begin with.
const SIGNS: [&str; 20] =
    ["<<", ">>", "<=", ">=", "<>", "!=", "<", ">", "=", "+", "-", "*", "/", "%", "|", "#", "&", "~", "(", ")"];

/// Cuts a text into lexemes.
///
/// # Errors
/// In words: a character that no expression has, a number out of range.
pub fn lexemes(text: &str) -> Result<Vec<Lexeme>, String> {
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ':' => {
                let name = name_length(&rest[1..]);
                if name == 0 {
                    return Err("`:` is followed by no name of a variable".into());
                }
                found.push(Lexeme::Variable(rest[1..=name].to_string()));
                name + 1
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                found.push(Lexeme::Word(rest[..length].to_string()));
                length
            }
            c if c.is_ascii_digit() || c == '.' => {
                let length = number_length(rest);
                found.push(number(&rest[..length])?);
                length
            }
            ',' => {
                found.push(Lexeme::Sign(","));
                1
            }
            other => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| format!("`{other}` belongs to no expression of pgbench"))?;
                found.push(Lexeme::Sign(sign));
                sign.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

/// Length of the variable's name that a text begins with; 0 where it begins with none.
pub fn name_length(text: &str) -> usize {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    if !text.starts_with(letter) {
        return 0;
    }
    text.find(|c: char| !letter(c) && !c.is_ascii_digit()).unwrap_or(text.len())
}

fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| from + at);
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let exponent = end + 1 + usize::from(text[end + 1..].starts_with(['+', '-']));
        if digits(exponent) > exponent {
            end = digits(exponent);
        }
    }
    end
}

fn number(text: &str) -> Result<Lexeme, String> {
    if text == "9223372036854775808" {
        return Ok(Lexeme::LeastInteger);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let int = text.parse().map_err(|_| format!("{text} is out of the range of integers"))?;
        return Ok(Lexeme::Number(Value::Int(int)));
    }
    let double: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if double.is_finite() {
        Ok(Lexeme::Number(Value::Double(double)))
    } else {
        Err(format!("{text} is out of the range of numbers"))
    }
}
