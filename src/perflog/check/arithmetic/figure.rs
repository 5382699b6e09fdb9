//! Figures of people's words: value, the precision in which it is written, sign, unit. Invariant: what may be part of a
//! name, a date, a version or an address is no figure.

use super::interval::Interval;
use super::unit::{Dimension, Unit, ends_word, is_one_of, unit};
use std::ops::Range;

/// A figure as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// With its sign and its unit.
    pub at: Range<usize>,
    pub value: f64,
    /// What its last digit counts.
    pub step: f64,
    /// The upper end, where a range is given.
    pub until: Option<f64>,
    /// `+` or `-`, where one is written.
    pub sign: Option<char>,
    pub unit: Option<Unit>,
    /// About; at least, at most: it may be anything near.
    pub vague: bool,
}

/// What "about" may be off by.
const ABOUT: f64 = 0.1;

impl Figure {
    pub fn dimension(&self) -> Dimension {
        self.unit.map_or(Dimension::Plain, |unit| unit.dimension)
    }

    /// What it may have been before it was rounded, in seconds, things a second, bytes.
    pub fn interval(&self, unit: Unit) -> Interval {
        let half = if unit.dimension == Dimension::Clients { 0.0 } else { 0.5 * self.step };
        let written = Interval::new(self.value - half, self.until.unwrap_or(self.value) + half);
        let written = if self.vague { written.widened(ABOUT) } else { written };
        written.scaled(unit.scale)
    }
}

/// All figures of a text, from left to right.
pub fn figures(text: &str) -> Vec<Figure> {
    let (mut found, mut at): (Vec<Figure>, usize) = (Vec::new(), 0);
    while let Some(offset) = text[at..].find(|c: char| c.is_ascii_digit()) {
        let from = at + offset;
        let numeral = Numeral::read(text, from);
        match before(text, from).map(|before| (figure(text, before, &numeral), numeral.end)) {
            Some((Some(figure), _)) => {
                at = figure.at.end.max(from + 1);
                found.push(figure);
            }
            Some((None, end)) => at = after_word(text, end),
            // `p50 281 us`: what follows a name's digits is not a group of them.
            None => at = after_word(text, from + digits(&text[from..])),
        }
    }
    found
}

/// Behind what hangs on digits that are no figure: `2026-11-24`, `4xx`.
fn after_word(text: &str, from: usize) -> usize {
    let joins = |(at, c): &(usize, char)| {
        let next = text[from + at + c.len_utf8()..].chars().next();
        c.is_alphanumeric()
            || *c == '_'
            || matches!(c, '-' | '.' | ':' | '/') && next.is_some_and(char::is_alphanumeric)
    };
    from + text[from..].char_indices().take_while(joins).map(|(_, c)| c.len_utf8()).sum::<usize>()
}

/// Digits with what sets them apart.
struct Numeral {
    value: f64,
    step: f64,
    end: usize,
}

const APART: [&str; 7] = [",", "_", "'", "\u{a0}", "\u{202f}", "\u{2009}", " "];

impl Numeral {
    fn read(text: &str, from: usize) -> Numeral {
        let rest = &text[from..];
        let first = digits(rest);
        let mut end = first;
        if first <= 3 && !rest.starts_with('0') {
            end = APART.iter().map(|apart| grouped(rest, first, apart)).max().unwrap_or(first);
        }
        let mut whole: String = rest[..end].chars().filter(char::is_ascii_digit).collect();
        let (mut decimals, zeros) = (0, trailing_zeros(&whole));
        let behind = &rest[end..];
        let european = behind.starts_with(',')
            && (1..=2).contains(&digits(&behind[1..]))
            && end == first
            && unit(&behind[1 + digits(&behind[1..])..]).is_some();
        if behind.starts_with('.') && digits(&behind[1..]) > 0 || european {
            decimals = digits(&behind[1..]);
            whole += &format!(".{}", &behind[1..=decimals]);
            end += 1 + decimals;
        }
        let step = if decimals > 0 { 10f64.powi(-(decimals as i32)) } else { 10f64.powi(zeros) };
        let mut numeral = Numeral { value: whole.parse().unwrap_or(f64::NAN), step, end: from + end };
        numeral.exponent(text);
        numeral
    }

    /// `1.2e5`
    fn exponent(&mut self, text: &str) {
        let Some(rest) = text[self.end..].strip_prefix(['e', 'E']) else { return };
        let signs = usize::from(rest.starts_with(['+', '-']));
        let count = digits(&rest[signs..]);
        if (1..=2).contains(&count) && ends_word(&rest[signs + count..]) {
            let factor = 10f64.powi(rest[..signs + count].parse().unwrap_or(0));
            (self.value, self.step, self.end) = (self.value * factor, self.step * factor, self.end + 1 + signs + count);
        }
    }
}

/// Zeros at the end of a whole number may come from rounding; one of the first two digits does not, and of three or
/// four digits only the last one does.
fn trailing_zeros(digits: &str) -> i32 {
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let most = match digits.len() {
        0..=2 => 0,
        3 | 4 => 1,
        len => len - 3,
    };
    zeros.min(most) as i32
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// End of groups of three behind the first digits; that end itself where there are none. A plain blank sets digits
/// apart only where a unit, or nothing, follows.
fn grouped(rest: &str, first: usize, apart: &str) -> usize {
    let mut end = first;
    while let Some(group) = rest[end..].strip_prefix(apart)
        && digits(group) == 3
    {
        end += apart.len() + 3;
    }
    let sure = apart != " " || rest[end..].trim().is_empty() || unit(&rest[end..]).is_some();
    if sure { end } else { first }
}

fn figure(text: &str, before: Before, numeral: &Numeral) -> Option<Figure> {
    let mut figure = Figure {
        at: before.begin..numeral.end,
        value: numeral.value,
        step: numeral.step,
        until: None,
        sign: before.sign,
        unit: None,
        vague: before.vague || says_about(&text[..before.begin]),
    };
    figure.thousands(text);
    if !figure.spread(text) {
        return None;
    }
    match unit(&text[figure.at.end..]) {
        Some((unit, len)) => {
            figure.unit = Some(unit);
            figure.at.end += len;
        }
        None if names_clients(&text[..figure.at.start]) => {
            figure.unit = Some(Unit { dimension: Dimension::Clients, ..Unit::PLAIN });
        }
        None if before.times => figure.unit = Some(Unit { dimension: Dimension::Factor, ..Unit::PLAIN }),
        None if !ends_word(&text[figure.at.end..]) || begins_compound(&text[figure.at.end..]) => return None,
        None => {}
    }
    if before.sign == Some('-') {
        figure.value = -figure.value;
    }
    Some(figure)
}

/// What stands before the digits.
struct Before {
    begin: usize,
    sign: Option<char>,
    times: bool,
    vague: bool,
}

/// `None` for the end of a name (`L16`), a part of a date, a version, a time, or the smaller of two ends.
fn before(text: &str, from: usize) -> Option<Before> {
    let mut found = Before { begin: from, sign: None, times: false, vague: false };
    let mut head = &text[..from];
    if let Some(short) = head.strip_suffix(['x', '×'])
        && !short.ends_with(char::is_alphanumeric)
    {
        (head, found.times) = (short, true);
    }
    if let Some(short) = head.strip_suffix(['+', '-', '−', '–']) {
        let sign = if head.ends_with('+') { '+' } else { '-' };
        if short.ends_with(|c: char| c.is_alphanumeric() || c == ')') {
            return None;
        }
        (head, found.sign) = (short, Some(sign));
    }
    if let Some(short) = head.strip_suffix(['~', '≈', '<', '>', '≤', '≥']) {
        (head, found.vague) = (short, true);
    }
    if let Some(short) = head.strip_suffix('±') {
        head = short;
    }
    found.begin = head.len();
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '#' | '@' | '$' | '\\');
    let slash_of_words = head.ends_with('/') && head.trim_end_matches('/').ends_with(' ');
    (!head.ends_with(joins) || slash_of_words).then_some(found)
}

/// `N=16`, `concurrency: 16`
fn names_clients(before: &str) -> bool {
    let Some(name) = before.trim_end().strip_suffix(['=', ':']).map(str::trim_end) else { return false };
    let word = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    // "16 clients: 12,300" is another thing.
    let counted = name[..name.len() - word.len()].trim_end().ends_with(|c: char| c.is_ascii_digit());
    let names = "N n c clients concurrency conns connections Clients Concurrency";
    is_one_of(word, names) && !word.is_empty() && !counted
}

/// `32-bit`
fn begins_compound(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphabetic))
}

fn says_about(before: &str) -> bool {
    let before = before.trim_end().to_lowercase();
    let words = [
        "about", "around", "roughly", "approx", "approx.", "circa", "ca.", "c.", "some", "nearly", "almost", "over",
        "under", "below", "above", "least", "most", "than", "~", "≈", "<", ">", "≤", "≥", "<=", ">=",
    ];
    before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '|')).next().is_some_and(|w| words.contains(&w))
}

impl Figure {
    /// `18.2k`, `1.2M`
    fn thousands(&mut self, text: &str) {
        let rest = &text[self.at.end..];
        let factor = match rest.chars().next() {
            Some('k' | 'K') => 1e3,
            Some('M') => 1e6,
            _ => return,
        };
        if ends_word(&rest[1..]) && !(rest[1..].starts_with('/')) {
            self.value *= factor;
            self.step *= factor;
            self.at.end += 1;
        }
    }

    /// `120-130`, `788 ±3`. False where digits go on in another way: a date, a time, an address.
    fn spread(&mut self, text: &str) -> bool {
        let rest = &text[self.at.end..];
        let mut characters = rest.chars();
        let (next, second) = (characters.next(), characters.next());
        let goes_on = second.is_some_and(|c| c.is_ascii_digit());
        if matches!(next, Some(':' | '.' | '_' | '/' | ',')) && goes_on && next != Some(',') && next != Some('/') {
            return false;
        }
        if let Some(dash) = ["-", "–", "—", " – ", ".."]
            .into_iter()
            .find(|dash| rest.strip_prefix(dash).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
        {
            let from = self.at.end + dash.len();
            let upper = Numeral::read(text, from);
            let mut until = Figure { at: from..upper.end, value: upper.value, step: upper.step, ..self.clone() };
            until.thousands(text);
            let date = text[until.at.end..].strip_prefix(['-', ':', '.', '/']).is_some_and(|r| digits(r) > 0);
            if date || until.value <= self.value {
                return false;
            }
            (self.until, self.step, self.at.end) = (Some(until.value), self.step.max(until.step), until.at.end);
        }
        for mark in ["±", " ±", " ± ", "± ", " +/- ", "+/-", " +- "] {
            let behind = text[self.at.end..].strip_prefix(mark).filter(|rest| digits(rest) > 0);
            if behind.is_some() {
                self.at.end = Numeral::read(text, self.at.end + mark.len()).end;
                break;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value, step, dimension.
    fn read(text: &str) -> Vec<(f64, f64, Dimension)> {
        figures(text).iter().map(|f| (f.value, f.step, f.dimension())).collect()
    }

    #[test]
    fn numbers_are_read_in_the_styles_that_people_write() {
        use Dimension::*;
        for (text, expected) in [
            ("12,300 q/s", (12_300.0, 100.0, Rate)),
            ("12_301 qps", (12_301.0, 1.0, Rate)),
            ("12 301 q/s", (12_301.0, 1.0, Rate)),
            ("12\u{202f}301", (12_301.0, 1.0, Plain)),
            ("12.3k q/s", (12_300.0, 100.0, Rate)),
            ("1.25M", (1_250_000.0, 10_000.0, Plain)),
            ("140.8 us", (140.8, 0.1, Time)),
            ("1,4 ms", (1.4, 0.1, Time)),
            ("~0.85 ms/query", (0.85, 0.01, Time)),
            ("+14 %", (14.0, 1.0, Percent)),
            ("−3.5%", (-3.5, 0.1, Percent)),
            ("x1.4", (1.4, 0.1, Factor)),
            ("1.4×", (1.4, 0.1, Factor)),
            ("788 ±3 µs", (788.0, 1.0, Time)),
            ("64 clients", (64.0, 1.0, Clients)),
            ("1.2e5", (120_000.0, 10_000.0, Plain)),
            ("1000", (1000.0, 10.0, Plain)),
        ] {
            let found = read(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
            let (value, step, dimension) = found[0];
            assert!(
                close(value, expected.0) && close(step, expected.1) && dimension == expected.2,
                "{text}: {found:?}"
            );
        }
        let scaled = |text: &str| figures(text)[0].unit.unwrap().scale;
        assert_eq!((scaled("12.3 kq/s"), scaled("5 k q/s"), scaled("3 µs"), scaled("2 ms")), (1e3, 1e3, 1e-6, 1e-3));
    }

    #[test]
    fn names_dates_versions_and_addresses_are_no_figures() {
        for text in [
            "L0016-R1",
            "2026-11-24",
            "v0.1.0 0.1.0",
            "12:21",
            "4xx",
            "read_ts2",
            "127.0.0.1:43969",
            "x86_64",
            "#12",
            "p99",
            "a3f9c21",
            "32-bit",
            "t1",
            "$1",
            "PR-12",
        ] {
            assert_eq!(read(text), [], "{text}");
        }
        assert_eq!(read("levels 1,4,16,64").len(), 4);
    }

    #[test]
    fn a_names_digits_do_not_take_the_next_number() {
        assert_eq!(read("p50 281 us"), [(281.0, 1.0, Dimension::Time)]);
    }

    #[test]
    fn ranges_and_about_are_wider() {
        let of = |text: &str| figures(text)[0].interval(Unit::PLAIN);
        assert_eq!((of("120-130"), of("120–130 us")), (Interval::new(115.0, 135.0), Interval::new(115.0, 135.0)));
        assert!(of("about 12,345").low < 11_200.0 && of("12,345").low > 12_344.0 && of("~64").high > 70.0);
        assert_eq!(figures("120-130 us")[0].dimension(), Dimension::Time);
    }
}
