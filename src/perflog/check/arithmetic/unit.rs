//! Units as people write them. Invariant: a unit is whole words only; `s` of `server's` is none.

/// What a figure is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Time,
    /// Things a second.
    Rate,
    Percent,
    /// Percentage points.
    Points,
    Factor,
    Clients,
    /// Queries, transactions, samples.
    Count,
    Cpus,
    Bytes,
    /// Nothing says it.
    Plain,
}

/// A dimension, and what one of the unit is in seconds, things a second, or bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    pub dimension: Dimension,
    pub scale: f64,
    /// Of one query, transaction or call.
    pub per_query: bool,
}

impl Unit {
    pub const PLAIN: Unit = Unit { dimension: Dimension::Plain, scale: 1.0, per_query: false };

    /// As the figure `value` of it is said.
    pub fn said(self, value: f64) -> String {
        let value = grouped(value / self.scale);
        match (self.dimension, self.scale) {
            (Dimension::Time, scale) => format!("{value} {}", TIMES.iter().find(|t| t.1 == scale).map_or("s", |t| t.0)),
            (Dimension::Rate, scale) if scale >= 1e6 => format!("{value}M/s"),
            (Dimension::Rate, scale) if scale >= 1e3 => format!("{value}k/s"),
            (Dimension::Rate, _) => format!("{value}/s"),
            (Dimension::Percent, _) => format!("{value} %"),
            (Dimension::Points, _) => format!("{value} points"),
            (Dimension::Factor, _) => format!("{value}x"),
            _ => value,
        }
    }
}

const TIMES: [(&str, f64); 13] = [
    ("us", 1e-6),
    ("ms", 1e-3),
    ("ns", 1e-9),
    ("s", 1.0),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("usec", 1e-6),
    ("usecs", 1e-6),
    ("msec", 1e-3),
    ("sec", 1.0),
    ("secs", 1.0),
    ("seconds", 1.0),
    ("second", 1.0),
];

const RATES: [&str; 21] = [
    "q/s",
    "qps",
    "queries/s",
    "queries/sec",
    "queries per second",
    "queries a second",
    "query/s",
    "tps",
    "tx/s",
    "txn/s",
    "txns/s",
    "transactions/s",
    "transactions per second",
    "ops/s",
    "ops/sec",
    "req/s",
    "requests/s",
    "rps",
    "statements/s",
    "per second",
    "/s",
];

const OTHERS: [(&str, Dimension, f64); 34] = [
    ("% points", Dimension::Points, 1.0),
    ("%-points", Dimension::Points, 1.0),
    ("percentage points", Dimension::Points, 1.0),
    ("percent", Dimension::Percent, 1.0),
    ("pp", Dimension::Points, 1.0),
    ("points", Dimension::Points, 1.0),
    ("%", Dimension::Percent, 1.0),
    ("x", Dimension::Factor, 1.0),
    ("×", Dimension::Factor, 1.0),
    ("-fold", Dimension::Factor, 1.0),
    ("fold", Dimension::Factor, 1.0),
    ("times", Dimension::Factor, 1.0),
    ("clients", Dimension::Clients, 1.0),
    ("client", Dimension::Clients, 1.0),
    ("connections", Dimension::Clients, 1.0),
    ("conns", Dimension::Clients, 1.0),
    ("queries", Dimension::Count, 1.0),
    ("query", Dimension::Count, 1.0),
    ("transactions", Dimension::Count, 1.0),
    ("txns", Dimension::Count, 1.0),
    ("requests", Dimension::Count, 1.0),
    ("statements", Dimension::Count, 1.0),
    ("samples", Dimension::Count, 1.0),
    ("vCPUs", Dimension::Cpus, 1.0),
    ("vCPU", Dimension::Cpus, 1.0),
    ("CPUs", Dimension::Cpus, 1.0),
    ("cores", Dimension::Cpus, 1.0),
    ("-core", Dimension::Cpus, 1.0),
    ("-client", Dimension::Clients, 1.0),
    ("kB", Dimension::Bytes, 1e3),
    ("MB", Dimension::Bytes, 1e6),
    ("GB", Dimension::Bytes, 1e9),
    ("MiB", Dimension::Bytes, 1_048_576.0),
    ("GiB", Dimension::Bytes, 1_073_741_824.0),
];

/// What a time can be of.
const OF_ONE: [&str; 12] = [
    "/query",
    "/q",
    "/op",
    "/txn",
    "/tx",
    "/transaction",
    "/request",
    "/req",
    "/call",
    "/statement",
    " per query",
    " a query",
];

/// The unit that a text begins with, and its length; `begin` is where words begin that a unit must end before.
pub fn unit(text: &str) -> Option<(Unit, usize)> {
    let blanks = text.len() - text.trim_start_matches([' ', '\u{a0}', '\u{202f}', '\u{2009}']).len();
    let rest = &text[blanks..];
    let of = |dimension, scale| Unit { dimension, scale, per_query: false };
    for (prefix, factor) in [("", 1.0), ("k ", 1e3), ("k", 1e3), ("K", 1e3), ("M ", 1e6), ("M", 1e6)] {
        let Some(behind) = rest.strip_prefix(prefix) else { continue };
        if let Some(len) = RATES.iter().find_map(|name| begins(behind, name)) {
            return Some((of(Dimension::Rate, factor), blanks + prefix.len() + len));
        }
    }
    for (name, scale) in TIMES {
        let Some(len) = begins_with(rest, name) else { continue };
        if let Some(one) = OF_ONE.iter().find_map(|one| begins(&rest[len..], one)) {
            return Some((Unit { per_query: true, ..of(Dimension::Time, scale) }, blanks + len + one));
        }
        let ends = ends_word(&rest[len..]) && !rest[len..].starts_with("/");
        if ends {
            return Some((of(Dimension::Time, scale), blanks + len));
        }
    }
    let (dimension, scale, len) = OTHERS.iter().find_map(|(name, d, scale)| Some((*d, *scale, begins(rest, name)?)))?;
    Some((of(dimension, scale), blanks + len))
}

/// Length of `name` where the text begins with it as a whole word, whatever its case.
fn begins(text: &str, name: &str) -> Option<usize> {
    begins_with(text, name).filter(|len| ends_word(&text[*len..]) || !name.ends_with(char::is_alphanumeric))
}

fn begins_with(text: &str, name: &str) -> Option<usize> {
    let start = text.get(..name.len())?;
    start.eq_ignore_ascii_case(name).then_some(name.len())
}

/// Whether a word is one of a list's, which blanks set apart.
pub fn is_one_of(word: &str, list: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

pub fn ends_word(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Three significant digits at least, thousands set apart.
pub fn grouped(value: f64) -> String {
    let decimals = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize };
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{text}") } else { format!("{sign}{text}.{fraction}") }
}
