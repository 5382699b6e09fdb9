//! One line of an exposition, taken apart: a sample, or the type of a family. Names are bare (`a_b:c`) or quoted, which
//! permits any character (Prometheus 3): `{"a.b","c.d"="value"} 1`. Invariant: a line is read whole or not at all.

use super::quoted;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One sample line, taken apart.
pub(super) struct Line<'a> {
    /// Name and labels as written.
    pub head: &'a str,
    pub name: Cow<'a, str>,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// As written: milliseconds in Prometheus' format, seconds in OpenMetrics'.
    pub timestamp: Option<f64>,
}

/// Whether a character may stand in a name without quotes.
pub(super) fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Takes `name{key="value",...} value [timestamp] [# exemplar]` apart; `None` where the line is something else.
pub(super) fn sample_line(line: &str) -> Option<Line<'_>> {
    let end = line.find(|c: char| !is_bare(c)).unwrap_or(line.len());
    let (bare, mut rest) = line.split_at(end);
    if bare.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut name = (!bare.is_empty()).then_some(Cow::Borrowed(bare));
    let mut labels = BTreeMap::new();
    rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = label_list(inside, &mut name, &mut labels)?;
    } else if end == line.len() || !line[end..].starts_with(char::is_whitespace) {
        return None;
    }
    let head = line[..line.len() - rest.len()].trim_end();
    let mut words = rest.split_whitespace().take_while(|word| !word.starts_with('#'));
    let value = number(words.next()?)?;
    let timestamp = match words.next() {
        Some(word) => Some(word.parse::<f64>().ok()?),
        None => None,
    };
    let name = name.filter(|name| !name.is_empty())?;
    words.next().is_none().then_some(Line { head, name, labels, value, timestamp })
}

/// Reads labels up to the closing brace, and the name where it stands among them; answers what follows the brace.
fn label_list<'a>(
    mut rest: &'a str,
    name: &mut Option<Cow<'a, str>>,
    labels: &mut BTreeMap<String, String>,
) -> Option<&'a str> {
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (key, after) = if rest.starts_with('"') {
            let (key, length) = quoted::read(rest)?;
            (key, rest[length..].trim_start())
        } else {
            let end = rest.find('=')?;
            let key = rest[..end].trim();
            let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (bare.then(|| key.to_string())?, &rest[end..])
        };
        if let Some(after) = after.strip_prefix('=') {
            let after = after.trim_start();
            let (value, length) = quoted::read(after)?;
            if key.is_empty() || labels.insert(key, value).is_some() {
                return None;
            }
            rest = after[length..].trim_start();
        } else if name.replace(Cow::Owned(key)).is_some() {
            return None;
        } else {
            rest = after;
        }
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if !rest.starts_with('}') {
            return None;
        }
    }
}

/// A float as Go writes it (`+Inf`, `NaN`, `1e-05`).
pub(super) fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// Name and type of a `# TYPE name type` line; `None` where the line is another comment.
pub(super) fn type_line(line: &str) -> Option<(Cow<'_, str>, &str)> {
    let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("TYPE")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (name, of) = match quoted::read(rest) {
        Some((name, length)) => (Cow::Owned(name), &rest[length..]),
        None => {
            let end = rest.find(char::is_whitespace)?;
            (Cow::Borrowed(&rest[..end]), &rest[end..])
        }
    };
    Some((name, of.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, labels and value.
    type Parts = (String, Vec<(String, String)>, f64);

    fn parts(line: &str) -> Option<Parts> {
        sample_line(line).map(|line| (line.name.into_owned(), line.labels.into_iter().collect(), line.value))
    }

    fn made(name: &str, labels: &[(&str, &str)], value: f64) -> Option<Parts> {
        Some((name.into(), labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(), value))
    }

    #[test]
    fn quoted_names_stand_among_the_labels_and_hold_any_character() {
        for (line, expected) in [
            (r#"{"a.b"} 1"#, made("a.b", &[], 1.0)),
            (r#"{"a.b", "c d"="x", e="y",} 1 5"#, made("a.b", &[("c d", "x"), ("e", "y")], 1.0)),
            (r#"{e="y","a.b"} +Inf"#, made("a.b", &[("e", "y")], f64::INFINITY)),
            (r#"plain{"c.d"="}=,"}	1 # {t="x"} 2"#, made("plain", &[("c.d", "}=,")], 1.0)),
            (r#"{"ü \"\\\n,=}#"} 1"#, made("ü \"\\\n,=}#", &[], 1.0)),
        ] {
            assert_eq!(parts(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_without_one_name_is_no_sample() {
        for line in [r#"{a="b"} 1"#, "{} 1", r#"{""} 1"#, r#"a{"b"} 1"#, r#"{"a","b"} 1"#, r#"{"a" "b"} 1"#, r#""a" 1"#]
        {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    #[test]
    fn the_type_of_a_family_is_read_however_it_is_spaced() {
        let found = |line| type_line(line).map(|(name, of)| (name.into_owned(), of.to_string()));
        let made = |name: &str, of: &str| Some((name.to_string(), of.to_string()));
        assert_eq!(found("# TYPE a counter"), made("a", "counter"));
        assert_eq!(found("#\tTYPE  a\tgauge "), made("a", "gauge"));
        assert_eq!(found(r##"# TYPE "a \"b" gaugehistogram"##), made("a \"b", "gaugehistogram"));
        for line in ["# HELP a TYPE b counter", "# TYPED a counter", "# TYPE a", "a 1", "# EOF"] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
