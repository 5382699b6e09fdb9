//! Which options there are, by the command line's own tree, and which of them cannot carry a secret. Invariant: a new
//! option that takes a value fails the test until a canary is tried in it, or a line here says why none is needed.

use clap::{Arg, Command, CommandFactory};
use std::collections::BTreeSet;
use wireprof::cli::Arguments;

/// Names of values that are numbers, times and choices: anything else is refused while it is parsed.
const PARSED: [&str; 17] = [
    "N",
    "K",
    "S",
    "P",
    "ID",
    "PID",
    "HZ",
    "TIME",
    "PERCENT",
    "BYTES",
    "N,N,..",
    "N,..",
    "SESSION",
    "auto|N",
    "[N=]COUNT",
    "[N=]RATE",
    "KIND:ARGS",
];

/// Options without a canary, and why none is needed.
const CANNOT: &[(&str, &str)] = &[
    ("--runs", "a directory's path"),
    ("--target-host", "the name of a host; a password in it is refused and not shown (src/remote/host.rs)"),
    ("--target-program", "the path of a program on another host"),
    ("--load-host", "the name of a host; a password in it is refused and not shown (src/remote/host.rs)"),
    ("--load-program", "the path of a program on another host"),
    ("--source", "the path of a working copy"),
    ("--a-source", "the path of a working copy"),
    ("--b-source", "the path of a working copy"),
    ("--jj-describe", "the path of a working copy"),
    ("--output", "a path that is written to"),
    ("--svg", "a path that is written to"),
    ("--log", "the path of a log, whose text is its authors'"),
    ("directory", "a path that is written to"),
    ("prompt", "the path of a text, which its authors wrote for readers"),
    ("--level", "a number, or a number and the path of a profile"),
    ("run", "the name of a run"),
    ("before", "the name of a run"),
    ("after", "the name of a run"),
    ("--run", "the name of a run"),
    ("--before", "the name of a run"),
    ("--name", "a name that is chosen for readers"),
    ("--a-name", "a name that is chosen for readers"),
    ("--b-name", "a name that is chosen for readers"),
    ("--also-program", "the path of a program on another host"),
    ("--process", "the name of a process"),
    ("--service", "a label, which is sent as it is"),
    ("--label", "a label, which is sent as it is"),
    ("--focus", "a pattern for names of functions"),
    ("--frame", "a pattern for names of functions"),
    ("--callers-of", "a pattern for names of functions"),
    ("--rename", "a pattern for names of functions"),
    ("--match", "a pattern for names of metrics"),
    ("--column", "one of the profile's columns"),
    ("--section", "one of the answer's sections"),
    ("--title", "words for the log, which are written as they are"),
    ("--problem", "words for the log, which are written as they are"),
    ("--change", "words for the log, which are written as they are"),
    ("--conclusion", "words for the log, which are written as they are"),
    ("--link", "words for the log, which are written as they are"),
    ("--add", "words for a prompt, which are written as they are"),
    ("--driver", "the path of a program"),
];

/// An option of a verb: `sweep`, `--url`; an argument without a name by its id.
pub type Asked = (String, String);

/// All options whose value can be a secret.
pub fn with_secrets() -> BTreeSet<Asked> {
    let mut found = BTreeSet::new();
    let mut command = Arguments::command();
    command.build();
    walk(&command, "", &mut found);
    found
}

fn walk(command: &Command, verb: &str, found: &mut BTreeSet<Asked>) {
    for argument in command.get_arguments().filter(|argument| can_carry(argument)) {
        found.insert((verb.into(), name(argument)));
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        walk(below, format!("{verb} {}", below.get_name()).trim_start(), found);
    }
}

fn can_carry(argument: &Arg) -> bool {
    let values: Vec<&str> = argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
    let parsed = !values.is_empty() && values.iter().all(|value| PARSED.contains(value));
    let chosen = !argument.get_possible_values().is_empty();
    argument.get_action().takes_values() && !parsed && !chosen && CANNOT.iter().all(|(none, _)| *none != name(argument))
}

fn name(argument: &Arg) -> String {
    argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"))
}

/// Each line above is of an option that there is.
pub fn assert_no_line_is_stale() {
    let mut command = Arguments::command();
    command.build();
    let mut left: Vec<&Command> = vec![&command];
    let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands());
        names.extend(command.get_arguments().map(name));
        let all = command.get_arguments().flat_map(|argument| argument.get_value_names().unwrap_or_default());
        values.extend(all.map(ToString::to_string));
    }
    let gone: Vec<_> = CANNOT.iter().filter(|(option, why)| !names.contains(*option) || why.is_empty()).collect();
    let unused: Vec<_> = PARSED.iter().filter(|value| !values.contains(**value)).collect();
    assert!(gone.is_empty() && unused.is_empty(), "{gone:?} {unused:?}");
}
