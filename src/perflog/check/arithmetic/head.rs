//! What a table's header, or a row's label, says of its cells. Invariant: words that are not known make a head of its
//! own kind, which is compared with none of another kind.

use super::figure::figures;
use super::unit::{Dimension, Unit, is_one_of, unit};
use regex::Regex;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What is counted or timed.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Quantity {
    Clients,
    Throughput,
    Mean,
    /// Latency, without saying which of it.
    Latency,
    /// From 0 to 1.
    Quantile(f64),
    Min,
    Max,
    Scatter,
    Duration,
    Count,
    Cpu,
    Cores,
    Share,
    /// The words say.
    Other,
}

/// What the cells are to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Plain,
    Before,
    After,
    Change(Form),
    /// The sum of others: surely, by its word.
    Sum,
    /// The whole that others are parts of.
    Total,
    /// A part of the row above.
    Nested,
    /// Not in a sum.
    Apart,
}

/// How a change is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Any,
    Difference,
    Percent,
    Factor,
}

/// `64 / 1`, `64 - 1`, `1 -> 64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expression {
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub quantity: Quantity,
    pub unit: Option<Unit>,
    pub role: Role,
    /// Number of clients.
    pub level: Option<u64>,
    pub expression: Option<Expression>,
    /// The sign says better and worse, not more and less.
    pub better: bool,
    /// What is left of its words.
    pub words: BTreeSet<String>,
    pub text: String,
}

macro_rules! pattern {
    ($name:ident, $regex:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($regex).expect("a pattern of this file"));
    };
}

pattern!(PARENTHESIS, r"[(\[]([^)\]]*)[)\]]");
pattern!(QUANTILE, r"\bp(50|75|9\d?\d*)(\.\d+)?\b|\b(50|75|9\d)(\.\d+)?(th|\s?%\s?ile)\b|\bmedian\b");
pattern!(EXPRESSION, r"^\D*?(\d+)\s*(?:clients?)?\s*(/|÷|vs\.?|over|\s-\s|−|->|→|to)\s*(\d+)\s*(?:clients?)?\b");
pattern!(
    CHANGE,
    concat!(
        r"Δ|δ|∆|\bdelta\b|\bchanged?\b|\bdiff(erence)?\b|\bratio\b|\bspeed-?up\b|\bfactor\b|\bgain\b|",
        r"\bgrowth\b|\bgrew\b|\bimprovement\b|\breduction\b|\bsaving\b|\brelative\b|\bvs\b|\bscaling\b|",
        r"\bversus\b|\bcompared\b|\bwin\b|^x$|^×$|^\+/-$|^±\s?%$",
    )
);
pattern!(FACTOR, r"\bratio\b|\bspeed-?up\b|\bfactor\b|\bscaling\b|^x$|^×$|[(\[](x|×)[)\]]");
pattern!(BETTER, r"\bspeed-?up\b|\bgain\b|\bimprovement\b|\breduction\b|\bsaving\b|\bfaster\b|\bwin\b|\bbetter\b");
pattern!(
    BEFORE,
    concat!(
        r"\bbefore\b|\bbase(line)?\b|\bold\b|\bprevious\b|\bcontrol\b|\bwithout\b|\bmain\b|\bmaster\b|",
        r"\btrunk\b|\bstock\b|\borig(inal)?\b",
    )
);
pattern!(
    AFTER,
    concat!(
        r"\bafter\b|\bnew\b|\bpatch(ed)?\b|\boptimi[sz]ed\b|\bnow\b|\bcandidate\b|\bwith\b|\bbranch\b|",
        r"\bfix(ed)?\b|\btuned\b",
    )
);
pattern!(
    CLIENTS,
    concat!(
        r"^(#|n|nr|no|num|number|of|concurrent|clients?|concurrency|levels?|conns?|connections|users|",
        r"parallelism|\s|\.|=|:)+$",
    )
);
pattern!(LEVEL, r"^(?:n|c|level|clients|concurrency|conns)?\s*[=:@]?\s*(\d+)\s*(?:clients?|conns?|connections)?$");
pattern!(CHANGED_SIDE, r"^(before|after|old|new|base|baseline)$");

impl Head {
    pub fn read(written: &str) -> Head {
        let text = written.trim().replace(['µ', 'μ'], "u");
        let lower = text.to_lowercase().replace('*', "").trim().to_string();
        let unit = unit_of(&lower);
        let bare = PARENTHESIS.replace_all(&lower, " ").trim().to_string();
        let role = role(&lower, &bare, unit);
        let change = matches!(role, Role::Change(_));
        let level = LEVEL.captures(&bare).and_then(|found| found[1].parse().ok());
        let expression = EXPRESSION.captures(&bare).filter(|_| level.is_none()).and_then(|found| {
            let (a, b) = (found[1].parse().ok()?, found[3].parse().ok()?);
            let forward = matches!(found[2].trim(), "->" | "→" | "to");
            Some(if forward { Expression { from: a, to: b } } else { Expression { from: b, to: a } })
        });
        let role = match expression {
            Some(_) if !change => Role::Change(form(&lower, unit)),
            _ => role,
        };
        let quantity = quantity(&lower, &bare, unit);
        Head {
            quantity,
            unit,
            role,
            level,
            expression,
            better: BETTER.is_match(&lower),
            words: words(&lower),
            text: written.trim().to_string(),
        }
    }

    pub fn is_change(&self) -> bool {
        matches!(self.role, Role::Change(_))
    }

    /// Figures of such cells cannot be added.
    pub fn adds(&self) -> bool {
        let quantity = matches!(
            self.quantity,
            Quantity::Quantile(_) | Quantity::Min | Quantity::Max | Quantity::Scatter | Quantity::Clients
        );
        !quantity && !self.is_change()
    }
}

fn role(lower: &str, bare: &str, unit: Option<Unit>) -> Role {
    let first = lower.trim_start_matches(['*', '`', ' ', '_']);
    let nested = ["└", "├", "↳", "- ", "– ", "· ", "• ", "> ", "&nbsp;", "\u{a0}", "of which", "thereof", "… ", ".. "];
    let begins = |words: &[&str]| words.iter().any(|word| first.split([' ', ',', ':', '(']).next() == Some(word));
    if lower.contains("not in") || lower.contains("excluded") || lower.contains("outside") {
        Role::Apart
    } else if nested.iter().any(|mark| first.starts_with(mark)) || lower.contains("of which") {
        Role::Nested
    } else if CHANGE.is_match(lower) && !CHANGED_SIDE.is_match(bare) {
        Role::Change(form(lower, unit))
    } else if begins(&["sum", "σ", "∑"]) {
        Role::Sum
    } else if begins(&["total", "totals", "whole", "altogether"]) {
        Role::Total
    } else {
        match (BEFORE.is_match(bare), AFTER.is_match(bare)) {
            (true, false) => Role::Before,
            (false, true) => Role::After,
            _ => Role::Plain,
        }
    }
}

fn form(lower: &str, unit: Option<Unit>) -> Form {
    match unit.map(|unit| unit.dimension) {
        Some(Dimension::Percent) => Form::Percent,
        Some(Dimension::Factor) => Form::Factor,
        _ if lower.contains(" / ") || FACTOR.is_match(lower) => Form::Factor,
        Some(Dimension::Time | Dimension::Rate) => Form::Difference,
        _ => Form::Any,
    }
}

fn quantity(lower: &str, bare: &str, unit: Option<Unit>) -> Quantity {
    let has = |words: &[&str]| lower.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word));
    let bare_has = |words: &[&str]| bare.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word));
    let dimension = unit.map(|unit| unit.dimension);
    if CLIENTS.is_match(bare) && !bare.is_empty() {
        return Quantity::Clients;
    }
    if let Some(found) = QUANTILE.captures(lower) {
        return Quantity::Quantile(quantile(&found));
    }
    if has(&[
        "stddev", "stdev", "sd", "std", "σ", "error", "errors", "ci", "interval", "cv", "rsd", "spread", "variance",
        "range",
    ]) || bare == "±"
    {
        return Quantity::Scatter;
    }
    match dimension {
        _ if has(&["cpu"]) && dimension != Some(Dimension::Rate) => Quantity::Cpu,
        Some(Dimension::Rate) => Quantity::Throughput,
        _ if has(&["qps", "tps", "throughput", "rps"]) => Quantity::Throughput,
        // In parentheses these are minutes.
        _ if bare_has(&["min", "minimum"]) => Quantity::Min,
        _ if bare_has(&["max", "maximum"]) => Quantity::Max,
        _ if has(&["mean", "avg", "average"]) => Quantity::Mean,
        _ if has(&["share", "fraction", "portion"]) => Quantity::Share,
        Some(Dimension::Percent) if lower.contains("% of") => Quantity::Share,
        _ if has(&["duration", "elapsed", "wall"]) => Quantity::Duration,
        _ if has(&["cores", "cpus", "vcpus"]) => Quantity::Cores,
        _ if has(&["latency", "lat", "rtt"]) => Quantity::Latency,
        _ if has(&["queries", "transactions", "requests", "ops", "txns", "count"]) => Quantity::Count,
        _ => Quantity::Other,
    }
}

fn quantile(found: &regex::Captures) -> f64 {
    let digits = found.get(1).or(found.get(3)).map_or("50", |digits| digits.as_str());
    let fraction = found.get(2).or(found.get(4)).map_or("", |fraction| fraction.as_str());
    let value: f64 = format!("{digits}{fraction}").parse().unwrap_or(50.0);
    // p999 is 99.9 %.
    let share = if value >= 100.0 { format!("0.{digits}").parse().unwrap_or(0.999) } else { value / 100.0 };
    (share * 1e6).round() / 1e6
}

/// The unit in parentheses, else behind a comma, an underscore or the words.
fn unit_of(lower: &str) -> Option<Unit> {
    let whole = |text: &str| {
        let text = text.trim();
        let (found, len) = unit(text)?;
        (len == text.len() || text[len..].starts_with([' ', ',', ')', '/'])).then_some(found)
    };
    let known = |found: &Unit| found.dimension != Dimension::Clients && found.dimension != Dimension::Count;
    let inside = PARENTHESIS.captures_iter(lower).find_map(|found| whole(&found[1]));
    let percent = || lower.contains('%').then_some(Unit { dimension: Dimension::Percent, ..Unit::PLAIN });
    let parts = || {
        lower
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '_' | '[' | ']' | '(' | ')'))
            .filter(|word| *word != "x" || lower.len() == 1)
            .find_map(|word| whole(word).filter(|found| found.dimension != Dimension::Cpus))
            .filter(known)
    };
    inside.filter(known).or_else(percent).or_else(parts)
}

/// Words that say which of several things of one kind it is.
fn words(lower: &str) -> BTreeSet<String> {
    const KNOWN: &str = concat!(
        "main branch patch patched the of in by per a an and client clients end to e2e observed query queries ",
        "q qps tps rps throughput s ms us ns sec secs seconds msec usec mean avg average latency lat min max ",
        "median before after base baseline old new change diff difference delta δ ratio speedup factor x vs ",
        "level gain growth improvement k m kq kqps tx txn txns op ops relative response time total rate rt ",
        "transactions",
    );
    QUANTILE
        .replace_all(lower, " ")
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty() && !is_one_of(word, KNOWN))
        .map(str::to_string)
        .collect()
}

/// Numbers of clients that a text names, each once.
pub fn levels(text: &str) -> BTreeSet<u64> {
    let clients = figures(text).into_iter().filter(|f| f.dimension() == Dimension::Clients && f.until.is_none());
    clients.map(|figure| figure.value as u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_in_many_styles() {
        use Dimension::{Percent, Rate, Time};
        use Quantity::*;
        for (text, wanted, dimension) in [
            ("level (clients)", Clients, None),
            ("N", Clients, None),
            ("# conns", Clients, None),
            ("concurrency", Clients, None),
            ("throughput (q/s)", Throughput, Some(Rate)),
            ("QPS", Throughput, Some(Rate)),
            ("kq/s", Throughput, Some(Rate)),
            ("mean (µs)", Mean, Some(Time)),
            ("avg latency, ms", Mean, Some(Time)),
            ("avg_ms", Mean, Some(Time)),
            ("latency [us]", Latency, Some(Time)),
            ("p99 (ms)", Quantile(0.99), Some(Time)),
            ("p99.9", Quantile(0.999), None),
            ("p999", Quantile(0.999), None),
            ("median us", Quantile(0.5), Some(Time)),
            ("target CPU (µs/query)", Cpu, Some(Time)),
            ("share", Share, None),
            ("% of mean", Mean, Some(Percent)),
            ("there 64 (connections)", Other, None),
            ("in the server's hands", Other, None),
            ("errors", Scatter, None),
        ] {
            let head = Head::read(text);
            assert_eq!((head.quantity, head.unit.map(|u| u.dimension)), (wanted, dimension), "{text}: {head:?}");
        }
        assert_eq!(Head::read("throughput (kq/s)").unit.unwrap().scale, 1e3);
        assert_eq!(
            (Head::read("64 clients").level, Head::read("64").level, Head::read("N=16").level),
            (Some(64), Some(64), Some(16))
        );
    }

    #[test]
    fn roles_tell_what_follows_from_what() {
        for (text, role) in [
            ("before", Role::Before),
            ("q/s after", Role::After),
            ("baseline q/s", Role::Before),
            ("Δ", Role::Change(Form::Any)),
            ("change (%)", Role::Change(Form::Percent)),
            ("speedup", Role::Change(Form::Factor)),
            ("Δ mean (µs)", Role::Change(Form::Difference)),
            ("vs baseline", Role::Change(Form::Any)),
            ("64 / 1 (ratio)", Role::Change(Form::Factor)),
            ("sum from sending to reading", Role::Sum),
            ("total", Role::Total),
            ("- of which waiting", Role::Nested),
            ("in the client's hands (not in the sum)", Role::Apart),
            ("exchange", Role::Plain),
        ] {
            assert_eq!(Head::read(text).role, role, "{text}");
        }
        let expression = |text: &str| Head::read(text).expression.map(|e| (e.from, e.to));
        assert_eq!((expression("64 / 1 (ratio)"), expression("1 → 64")), (Some((1, 64)), Some((1, 64))));
        assert_eq!((expression("64 clients"), expression("p99")), (None, None));
    }
}
