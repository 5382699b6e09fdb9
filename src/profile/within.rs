//! Names of functions where there is little room. Invariant: what is cut says so; the end of a path, which tells most
//! of it, stays as long as it fits; different names of one table stay different as far as their ends tell.

use super::middle;
use std::collections::{BTreeMap, BTreeSet};

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

/// The names of one table in so many characters each: as [`name_within`] has them, or both ends of those that would be
/// alike.
pub fn names_within(names: &[String], width: usize) -> Vec<String> {
    let short: Vec<String> = names.iter().map(|name| name_within(name, width)).collect();
    let mut alike: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (short, name) in short.iter().zip(names) {
        alike.entry(short).or_default().insert(name);
    }
    let shown = |(short, name): (&String, &String)| match alike[short.as_str()].len() {
        1 => short.clone(),
        _ => middle(name, width),
    };
    short.iter().zip(names).map(shown).collect()
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
    fn different_names_of_a_table_stay_different() {
        let names = ["app::server::Server::handle", "app::server::Server::handle::{closure#0}", "app::main"];
        let names = names.map(String::from);
        assert_eq!(
            names_within(&names, 30),
            ["app::server::Server::handle", "app::server::S…le::{closure#0}", "app::main"]
        );
        assert_eq!(names_within(&names[1..], 15), ["…::handle", "app::main"]);
    }

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
