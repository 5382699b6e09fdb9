//! `--section`: the help of a verb, what the verb accepts, and what is said of a section that there is nothing for.

use crate::cli::Place;

/// The sections that the help of a verb names, and whether it says that there are others.
fn named(place: &Place, verb: &str) -> (Vec<String>, bool) {
    let help = place.done(&[verb, "--help"]);
    let (_, told) = help.split_once("Only these sections: ").unwrap();
    let (told, _) = told.split_once("\n\n").unwrap();
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let (names, others) = match told.split_once(" and others; a wrong name lists them") {
        Some((names, _)) => (names, true),
        None => (told.as_str(), false),
    };
    // What stands in brackets is when there is such a section.
    let name = |name: &str| name.split(" (").next().unwrap().to_string();
    (names.split(", ").map(name).collect(), others)
}

#[test]
fn the_help_of_every_verb_names_sections_that_the_verb_accepts() {
    let place = Place::new();
    for (verb, arguments) in [
        ("sweep", &["--testbed"][..]),
        ("record", &["--url", "postgres://127.0.0.1:1/x"]),
        ("import", &["--level", "1=x", "--qps", "1=1"]),
        ("explain", &[]),
        ("runs", &["latest"]),
        ("diff", &["latest", "latest"]),
        ("compare", &["--testbed", "--b-sql", "set x = 1"]),
    ] {
        let (code, refused) = place.failed(&[&[verb][..], arguments, &["--section", "nonsense"]].concat());
        assert_eq!(code, 2, "{verb}: {refused}");
        let (_, accepted) = refused.split_once("there is no such section; there are ").unwrap();
        let accepted: Vec<&str> = accepted.trim().split(", ").collect();
        let (named, others) = named(&place, verb);
        assert!(named.iter().all(|name| accepted.contains(&name.as_str())), "{verb}: {named:?} of {accepted:?}");
        assert!(others || named.len() == accepted.len(), "{verb}: {named:?} of {accepted:?}");
    }
}

#[test]
fn pictures_of_a_difference_that_were_not_asked_for_name_the_option() {
    let told = Place::new().done(&["diff", "latest", "latest", "--section", "pictures"]);
    assert_eq!(told, "Section pictures: only with --svg DIR.\n");
}
