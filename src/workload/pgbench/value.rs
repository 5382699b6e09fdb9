//! What a pgbench script computes with. Invariant: a value is written into SQL as pgbench writes it.

use std::fmt;

/// A value of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
}

/// What a variable of one client holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Variable {
    /// Nothing: `:name` stays in the statement as it is.
    #[default]
    Unset,
    /// Computed by `\set`, or given by the load itself.
    Value(Value),
    /// Text of `-D`, `\gset` or `\aset`, which becomes a value where an expression asks for one.
    Text(String),
}

impl Variable {
    /// The value for an expression; an error in words otherwise.
    ///
    /// # Errors
    /// The variable is not set, or its text is no value.
    pub fn value(&self) -> Result<Value, String> {
        match self {
            Variable::Unset => Err("is not set".into()),
            Variable::Value(value) => Ok(*value),
            Variable::Text(text) => read(text).ok_or_else(|| format!("is {text:?}, which is no value")),
        }
    }
}

fn read(text: &str) -> Option<Value> {
    let lower = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    Some(match lower.trim() {
        "" => return None,
        "null" => Value::Null,
        _ if begins("true", 1) || begins("yes", 1) || lower == "on" => Value::Bool(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Value::Bool(false),
        number => match number.parse() {
            Ok(int) => Value::Int(int),
            Err(_) => Value::Double(number.parse().ok()?),
        },
    })
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Double(value) => f.write_str(&general(*value)),
        }
    }
}

/// C's `%.15g`.
fn general(value: f64) -> String {
    const DIGITS: i32 = 15;
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .into();
    }
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return short(&format!("{value:.*}", (DIGITS - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_c_writes_them_with_fifteen_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1.0 / 3.0, "0.333333333333333"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (6.02e23, "6.02e+23"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(Value::Double(value).to_string(), text);
        }
    }

    #[test]
    fn a_text_becomes_the_value_that_it_spells() {
        let value = |text: &str| Variable::Text(text.into()).value();
        for (text, expected) in [
            ("12", Value::Int(12)),
            ("-3", Value::Int(-3)),
            ("1e3", Value::Double(1000.0)),
            ("NULL", Value::Null),
            ("on", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("t", Value::Bool(true)),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert!(value("O'Brien").unwrap_err().contains("no value") && value("").is_err());
        assert_eq!(Variable::Unset.value(), Err("is not set".into()));
    }
}
