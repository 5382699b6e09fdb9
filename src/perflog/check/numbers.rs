//! Numbers in running text and table cells. Invariant: what is part of a name, a date, a version or an address is no
//! number.

use std::collections::BTreeMap;

/// A number as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// With its unit: `18,205 q/s`.
    pub text: String,
    pub value: f64,
    /// Digits after the point that are shown; negative where it is given in thousands (`18.2k`).
    pub decimals: i32,
    /// Byte at which it begins.
    pub at: usize,
    pub unit: Option<&'static str>,
}

/// Units of measured figures, the longer before those that they begin with.
const UNITS: [&str; 22] = [
    "µs/query",
    "us/query",
    "queries/s",
    "q/s",
    "QPS",
    "qps",
    "TPS",
    "tps",
    "µs",
    "μs",
    "us",
    "ms",
    "ns",
    "seconds",
    "sec",
    "s",
    "MB",
    "kB",
    "GB",
    "%",
    "x",
    "×",
];

/// All numbers of a line, from left to right.
pub fn numbers(line: &str) -> Vec<Number> {
    let bytes = line.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + digits(&bytes[at..]);
        if stands_alone(line, at, end)
            && let Some(number) = number(line, at, end)
        {
            at = number.at + number.text.len();
            found.push(number);
        } else {
            at = end + bytes[end..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(b)).count();
        }
    }
    found
}

impl Number {
    /// Whether `other` is this number, as far as the one with fewer digits tells.
    pub fn agrees(&self, other: &Number) -> bool {
        (self.value - other.value).abs() <= self.tolerance(other.decimals)
    }

    /// By how much a number of so many decimals may differ from this one and still be it.
    fn tolerance(&self, decimals: i32) -> f64 {
        if self.decimals == decimals {
            return 1e-9 * self.value.abs();
        }
        0.5 * 10f64.powi(-self.decimals.min(decimals)) * (1.0 + 1e-9)
    }
}

/// Numbers to look others up in: by their decimals, in order. A log of thousands of entries has hundreds of thousands.
pub struct Derived(BTreeMap<i32, Vec<f64>>);

impl Derived {
    pub fn of(numbers: impl Iterator<Item = Number>) -> Derived {
        let mut by_decimals: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
        numbers.for_each(|number| by_decimals.entry(number.decimals).or_default().push(number.value));
        by_decimals.values_mut().for_each(|values| values.sort_unstable_by(f64::total_cmp));
        Derived(by_decimals)
    }

    /// Whether one of them is this number.
    pub fn has(&self, number: &Number) -> bool {
        self.0.iter().any(|(decimals, values)| {
            let tolerance = number.tolerance(*decimals);
            let from = values.partition_point(|value| *value < number.value && number.value - value > tolerance);
            values.get(from).is_some_and(|value| (value - number.value).abs() <= tolerance)
        })
    }
}

/// Length of the digits, thousands' separators and point at the start.
fn digits(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let grouped = bytes[at] == b','
            && bytes.len() >= at + 4
            && bytes[at + 1..at + 4].iter().all(u8::is_ascii_digit)
            && !bytes.get(at + 4).is_some_and(u8::is_ascii_digit);
        let point = bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[at].is_ascii_digit() || grouped || point) {
            break;
        }
        at += 1;
    }
    at
}

/// Neither a name's end (`L16`), nor a date's part (`2026-11`), a version's (`0.1.0`), a time's (`12:21`).
fn stands_alone(line: &str, from: usize, to: usize) -> bool {
    let before = line[..from].chars().next_back();
    let signed = matches!(before, Some('-' | '+'));
    let word = if signed { line[..from - 1].chars().next_back() } else { before };
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '#' | '@' | '-');
    let mut after = line[to..].chars();
    let (next, second) = (after.next(), after.next());
    let goes_on = matches!(next, Some('-' | ':' | '.' | '_' | '/')) && second.is_some_and(|c| c.is_ascii_digit());
    line[from..to].matches('.').count() < 2 && !word.is_some_and(joins) && !goes_on
}

/// `None` for digits that begin a word (`4xx`).
fn number(line: &str, from: usize, to: usize) -> Option<Number> {
    let digits: String = line[from..to].chars().filter(|c| *c != ',').collect();
    let mut value: f64 = digits.parse().ok()?;
    let mut decimals = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let mut end = to;
    let ends_word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if line[end..].starts_with(['k', 'K']) && ends_word(&line[end + 1..]) {
        (value, decimals, end) = (value * 1e3, decimals - 3, end + 1);
    }
    let spaces = line[end..].len() - line[end..].trim_start_matches([' ', '\u{a0}']).len();
    let rest = &line[end + spaces..];
    let unit = UNITS.into_iter().find(|unit| rest.strip_prefix(unit).is_some_and(ends_word));
    match unit {
        Some(unit) => end += spaces + unit.len(),
        None if !ends_word(&line[end..]) => return None,
        None => {}
    }
    let negative = line[..from].ends_with('-');
    let at = from - usize::from(negative);
    let value = if negative { -value } else { value };
    Some(Number { text: line[at..end].to_string(), value, decimals, at, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        numbers(line).into_iter().map(|n| n.text).collect()
    }

    #[test]
    fn figures_are_found_with_their_units_and_names_dates_and_versions_are_not() {
        assert_eq!(
            texts("| 16 | 18,205 q/s | -12.5 ±0.40 µs (88 %)"),
            ["16", "18,205 q/s", "-12.5", "0.40 µs", "88 %"]
        );
        assert_eq!(texts("~18.2k q/s, 2.5x; levels 1,4,16"), ["18.2k q/s", "2.5x", "1", "4", "16"]);
        assert_eq!(texts("L0016-R1 2026-11-24 v0.1.0 0.1.0 12:21 4xx read_ts2 127.0.0.1:43969 x86_64 #12"), [""; 0]);
    }

    #[test]
    fn numbers_agree_as_far_as_the_coarser_one_tells() {
        let agree = |a: &str, b: &str| Derived::of(numbers(b).into_iter()).has(&numbers(a)[0]);
        assert!(agree("18", "18.2") && agree("74,444", "74,443.7") && agree("18.2k", "18,205") && agree("1.50", "1.5"));
        let many = "3 17 18.4 18.6 900 12.30 0.5";
        assert!(agree("18", many) && agree("12.3", many) && agree("0.5", many) && agree("1k", many));
        assert!(!agree("18.5", many) && !agree("16", many) && !agree("12.35", many) && !agree("2k", many));
        assert!(!agree("18", "18.6") && !agree("12.3", "12.4") && !agree("85,000", "74,444") && !agree("-1", "1"));
    }
}
