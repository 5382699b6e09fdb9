//! Figures in running text: times, counts with their nouns, numbers. Invariant: a time has one form wherever it is
//! read: three digits, in the unit of its size; and nothing is written as 0 that is not.

use std::borrow::Cow;

/// What a frame is of that has no name because a runtime generated its code.
pub const GENERATED_CODE: &str = "generated code";

/// A time: three digits, in ns, µs, ms or s by its size.
pub fn time(nanos: f64) -> String {
    // 0.05 % below the next unit, so that 999.6 µs does not become 1,000 µs.
    let size = nanos.abs() * 1.0005;
    let (factor, unit) = match size {
        _ if size >= 1e9 => (1e-9, "s"),
        _ if size >= 1e6 => (1e-6, "ms"),
        _ if size >= 1e3 || size == 0.0 => (1e-3, "µs"),
        _ => (1.0, "ns"),
    };
    format!("{} {unit}", significant(nanos * factor))
}

/// A count with what is counted, as English has it: `1 window`, `2,000 queries`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{} {}", thousands(&count.to_string()), plural(count, one))
}

/// The noun alone, as that many have it.
pub fn plural(count: u64, one: &str) -> String {
    if count == 1 {
        return one.into();
    }
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if one.ends_with(['s', 'x']) => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// Three significant digits.
pub fn significant(value: f64) -> String {
    if value.is_infinite() {
        return "inf".into();
    }
    // As above: 99.96 has three digits as 100, not as 100.0.
    let decimals = if value == 0.0 { 0 } else { (2 - (value.abs() * 1.0005).log10().floor() as i32).clamp(0, 6) };
    thousands(&format!("{value:.*}", decimals as usize))
}

/// A share, 0..1, in whole percent; what is less than half of one is no 0.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 { "<1 %".into() } else { format!("{:.0} %", 100.0 * share) }
}

/// An average of counts, such as clients in a place: three digits, of which two behind the point at most.
pub fn average(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..0.005 => "<0.01".into(),
        ..0.9995 => format!("{value:.2}"),
        _ => significant(value),
    }
}

/// A text that others wrote, as a terminal may have it: what would move its cursor, change its colours or title, or
/// turn the order of letters is spelt out (`\u{1b}`). Ends of lines and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    const TURNS: [std::ops::RangeInclusive<char>; 3] =
        ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t' || TURNS.iter().any(|range| range.contains(&c));
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match acts(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Digits with separators between the thousands.
pub fn thousands(digits: &str) -> String {
    let (sign, rest) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut text = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.map_or(text.clone(), |f| format!("{text}.{f}"))
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().into(),
        [before @ .., last] => {
            let before: Vec<&str> = before.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", before.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_the_unit_of_its_size() {
        let cases = [
            (10_317_000.0, "10.3 ms"),
            (852_000.0, "852 µs"),
            (4_380.0, "4.38 µs"),
            (588.0, "588 ns"),
            (999_600.0, "1.00 ms"),
            (1_500_000_000.0, "1.50 s"),
            (-21_600.0, "-21.6 µs"),
            (0.0, "0 µs"),
        ];
        for (nanos, text) in cases {
            assert_eq!(time(nanos), text);
        }
    }

    #[test]
    fn what_is_counted_has_the_number_of_its_count() {
        let cases = [(1, "window", "1 window"), (2, "window", "2 windows"), (1_234, "query", "1,234 queries")];
        for (count, one, text) in cases {
            assert_eq!(counted(count, one), text);
        }
        assert_eq!((plural(2, "process"), plural(0, "day")), ("processes".into(), "days".into()));
    }

    #[test]
    fn significant_digits_are_three() {
        let cases =
            [(0.0, "0"), (12345.6, "12,346"), (123.45, "123"), (1.2345, "1.23"), (0.012345, "0.0123"), (99.97, "100")];
        for (value, text) in cases {
            assert_eq!(significant(value), text);
        }
    }

    #[test]
    fn a_share_that_is_small_is_no_zero() {
        assert_eq!([0.0, 0.004, 0.006, 0.5, 1.0, -0.2].map(percent), ["0 %", "<1 %", "1 %", "50 %", "100 %", "-20 %"]);
    }

    #[test]
    fn an_average_of_counts_has_two_decimals_at_most() {
        let cases = [(0.04, "0.04"), (0.999, "1.00"), (15.64, "15.6"), (120.4, "120"), (0.004, "<0.01"), (0.0, "0")];
        for (value, text) in cases {
            assert_eq!(average(value), text);
        }
    }

    #[test]
    fn a_list_ends_in_and() {
        assert_eq!((list::<&str>(&[]), list(&["a"])), (String::new(), "a".into()));
        assert_eq!((list(&["a", "b"]), list(&["a", "b", "c"])), ("a and b".into(), "a, b and c".into()));
    }
}
