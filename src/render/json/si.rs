//! Units for programs: what tables show in µs, ms and % is told in SI units. Invariant: a unit's name is made of SI
//! symbols (`s`, `B`), of `1` for ratios, and of the names of what is counted; behind a `/` stands what it is for one
//! of.

/// A unit for programs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// `s/query`, `1`, `queries/s`.
    pub name: String,
    /// By which a number in the shown unit is multiplied.
    pub factor: f64,
}

/// Shown, its name for programs, and the factor.
const KNOWN: [(&str, &str, f64); 19] = [
    ("ns", "s", 1e-9),
    ("us", "s", 1e-6),
    ("µs", "s", 1e-6),
    ("ms", "s", 1e-3),
    ("s", "s", 1.0),
    ("kB", "B", 1e3),
    ("MB", "B", 1e6),
    ("bytes", "B", 1.0),
    ("%", "1", 1e-2),
    ("ratio", "1", 1.0),
    ("probability", "1", 1.0),
    ("q", "queries", 1.0),
    ("clients", "clients", 1.0),
    ("connections", "connections", 1.0),
    ("calls", "calls", 1.0),
    ("rows", "rows", 1.0),
    ("ms CPU", "s", 1e-3),
    ("last level", "1", 1.0),
    ("1", "1", 1.0),
];

/// The unit of a column, or else of its row; `per`: what a row's time is for one of. No unit is a count.
pub(super) fn unit(shown: Option<&str>, per: Option<&str>) -> Unit {
    let shown = shown.unwrap_or("1").trim();
    let (of, for_one) = divided(shown);
    let (name, factor) = scaled(of);
    // A row's time has its own.
    let for_one = for_one.or(per.filter(|_| name == "s" || shown == "1")).filter(|per| *per != "1" && !per.is_empty());
    let Some(for_one) = for_one else { return Unit { name, factor } };
    let (below, divisor) = scaled(for_one);
    Unit { name: format!("{name}/{below}"), factor: factor / divisor }
}

/// What stands before and behind "per", "a" or a stroke.
fn divided(shown: &str) -> (&str, Option<&str>) {
    for word in ["a ", "per ", "for each "] {
        if let Some(for_one) = shown.strip_prefix(word) {
            return ("1", Some(if for_one == "second" { "s" } else { for_one }));
        }
    }
    for between in ["/", " per ", " a "] {
        if let Some((of, for_one)) = shown.split_once(between) {
            return (of, Some(for_one));
        }
    }
    (shown, None)
}

fn scaled(of: &str) -> (String, f64) {
    // `% of weight`, `% busy`: what it is of stands in the column's name.
    let word = if of.starts_with('%') { "%" } else { of };
    let known = KNOWN.iter().find(|(shown, ..)| *shown == word);
    known.map_or((of.to_string(), 1.0), |(_, name, factor)| ((*name).to_string(), *factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_units_become_si_units_with_what_they_are_for_one_of() {
        let of = |shown: &str, per: &str| {
            let found = unit((!shown.is_empty()).then_some(shown), (!per.is_empty()).then_some(per));
            (found.name, found.factor)
        };
        let is = |name: &str, factor: f64| (name.to_string(), factor);
        assert_eq!(of("µs/query", ""), is("s/query", 1e-6));
        assert_eq!(of("µs", "call"), is("s/call", 1e-6));
        assert_eq!(of("us per call", ""), is("s/call", 1e-6));
        assert_eq!(of("us a query", ""), is("s/query", 1e-6));
        assert_eq!(of("for each CPU", ""), is("1/CPU", 1.0));
        assert_eq!(of("q/s", ""), is("queries/s", 1.0));
        assert_eq!(of("% of weight", ""), is("1", 1e-2));
        assert_eq!(of("% busy", "query"), is("1", 1e-2));
        assert_eq!(of("a query", ""), is("1/query", 1.0));
        assert_eq!(of("a second", ""), is("1/s", 1.0));
        assert_eq!(of("per query", ""), is("1/query", 1.0));
        assert_eq!(of("ms CPU/s", ""), is("s/s", 1e-3));
        assert_eq!(of("µs/µs", ""), is("s/s", 1.0));
        assert_eq!(of("", ""), is("1", 1.0));
        assert_eq!(of("", "batch"), is("1/batch", 1.0));
        assert_eq!(of("frames", "query"), is("frames", 1.0));
    }
}
