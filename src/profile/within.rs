//! Names of functions where there is little room. Invariant: what is cut says so, and the end of a path, which tells
//! most of it, stays as long as it fits.

use super::middle;

/// A short name in so many characters: as it is, without the closures at its end, the end of its path, or, where even
/// its last part is too long, without its middle.
pub fn name_within(short: &str, width: usize) -> String {
    if short.chars().count() <= width {
        return short.into();
    }
    let whole = without_closures(short);
    if whole.chars().count() <= width {
        return whole;
    }
    let parts: Vec<&str> = whole.split("::").collect();
    let ends = (1..parts.len()).map(|from| format!("…::{}", parts[from..].join("::")));
    let mut fitting = ends.filter(|end| end.chars().count() <= width);
    fitting.next().unwrap_or_else(|| middle(&whole, width))
}

/// The function that the closures at a name's end are in.
pub fn without_closures(short: &str) -> String {
    let mut parts: Vec<&str> = short.split("::").collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.starts_with('{')) {
        parts.pop();
    }
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_the_end_of_its_path_stays() {
        let advance = "mz_pgwire::protocol::StateMachine::advance_ready::{closure#0}";
        let cases = [
            (advance, 80, advance),
            (advance, 50, "mz_pgwire::protocol::StateMachine::advance_ready"),
            (advance, 40, "…::protocol::StateMachine::advance_ready"),
            (advance, 39, "…::StateMachine::advance_ready"),
            (advance, 24, "…::advance_ready"),
            (advance, 12, "mz_pg…_ready"),
            ("main", 24, "main"),
            ("{closure#0}", 5, "{c…0}"),
        ];
        for (name, width, shown) in cases {
            assert_eq!(name_within(name, width), shown, "{width}");
        }
    }
}
