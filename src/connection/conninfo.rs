//! Connection strings of `name=value` words, cut as libpq's `conninfo_parse` cuts them. Invariant: an error shows no
//! text that stands where a password may stand.

use super::SettingError;

/// Settings in the order in which they are written, names not yet looked up.
pub type Pairs = Vec<(String, String)>;

/// Parses a connection string of either form.
///
/// # Errors
/// Text that libpq could not cut into settings either.
pub fn parse(text: &str) -> Result<Pairs, SettingError> {
    match super::uri::rest(text) {
        Some(rest) => super::uri::parse(rest),
        None => words(text),
    }
}

/// `name = value name='a value'`: blanks around `=`, quotes, and backslashes that make the next character plain.
fn words(text: &str) -> Result<Pairs, SettingError> {
    let mut rest = text.trim_start_matches(is_blank);
    let mut pairs = Pairs::new();
    let before_value = rest.split_once("://").map_or(rest, |(scheme, _)| scheme);
    if !rest.is_empty() && !rest.contains(is_blank) && !before_value.contains('=') {
        return Err(SettingError::no_form(rest));
    }
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_blank(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let Some(behind) = behind.trim_start_matches(is_blank).strip_prefix('=') else {
            let which = nameable(name, &pairs).map_or("a word of it".into(), |name| format!("`{name}`"));
            return Err(SettingError::syntax(format!("no `=` follows {which}")));
        };
        let (value, behind) =
            value(behind.trim_start_matches(is_blank)).ok_or_else(|| SettingError::syntax("a quote is not closed"))?;
        pairs.push((name.to_string(), value));
        rest = behind.trim_start_matches(is_blank);
    }
    Ok(pairs)
}

/// The value at the start of a text, and what follows it; `None` where a quote is not closed.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(quoted));
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            c if !quoted && is_blank(c) => return Some((value, &text[at..])),
            _ => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

/// `isspace` of C, which ASCII whitespace of Rust lacks the vertical tab of.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// A misspelt name, where it is surely no piece of a password: it looks like a name and no secret stands before it.
pub fn nameable<'a>(name: &'a str, before: &Pairs) -> Option<&'a str> {
    let after_secret = before.iter().any(|(name, _)| name.contains("pass") || name.contains("secret"));
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && (1..=30).contains(&name.len());
    (plain && !after_secret).then_some(name)
}

/// A value to be shown in an error: only a plain short word is.
pub fn showable(value: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if value.len() <= 20 && value.chars().all(plain) { value } else { "***" }
}

/// A value as a word of a connection string.
pub fn quote(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@,*+%[]".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.into();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_libpq_cuts_them() {
        for text in ["host=h sslmode = require", " host =\th\x0bsslmode= 'require' ", "host='h'sslmode=req\\uire"] {
            assert_eq!(
                words(text).unwrap(),
                [("host".into(), "h".into()), ("sslmode".into(), "require".into())],
                "{text}"
            );
        }
        let pairs = words("password=a\\ b user='it\\'s \\\\' dbname=").unwrap();
        let values: Vec<_> = pairs.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["a b", "it's \\", ""]);
        for (_, value) in pairs {
            assert_eq!(words(&format!("x={}", quote(&value))).unwrap()[0].1, value);
        }
    }

    #[test]
    fn what_is_no_string_is_refused_without_a_piece_of_a_password() {
        for text in ["password=my S3CR", "S3CR", "password='S3CR", "POSTGRES://u:S3CR@h/d", "me/S3CR@h", "me:S3CR"] {
            let told = words(text).unwrap_err().to_string();
            assert!(told.starts_with("the server's address is not understood: ") && !told.contains("S3CR"), "{told}");
        }
        assert!(words("host h").unwrap_err().to_string().contains("no `=` follows `host`"));
    }

    #[test]
    fn an_address_without_a_form_is_told_which_one_it_lacks_and_no_example_is_masked() {
        let example = "write postgres://USER@HOST:PORT/DATABASE, or host=... port=... user=... dbname=...";
        for (text, wanted) in [
            (
                "localhost:5432",
                "`localhost:5432` is neither a URL nor key=value pairs; write postgres://USER@localhost:5432/DATABASE",
            ),
            ("foo", "`foo` is neither a URL nor key=value pairs; write postgres://USER@foo/DATABASE"),
            ("user:secret@host", "it is neither a URL nor key=value pairs"),
            ("mysql://user:secret@host/d?a=b", "its scheme is `mysql`, not `postgres`"),
        ] {
            let wanted = match text.contains('@') {
                true => format!("the server's address is not understood: {wanted}; {example}"),
                false => wanted.to_string(),
            };
            let told = words(text).unwrap_err().to_string();
            assert_eq!(crate::connection::without_secrets(&told), wanted);
        }
    }
}
