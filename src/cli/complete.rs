//! What a shell may put for an argument while it is typed: runs, their levels, presets, functions in focus, sections.
//! Invariant: nothing is measured or changed, and what cannot be read offers nothing and says nothing, for the shell
//! prints neither.

use super::{Arguments, compare, diff, shown};
use crate::preset::{BUILT_IN, Preset};
use crate::run::{Manifest, Store};
use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// The variable by which a shell's script says that it asks.
const ASKS: &str = "WIREPROF_COMPLETE";

/// Answers a shell that asks; `false`: none does.
///
/// # Errors
/// A shell that nobody knows.
pub fn answered(arguments: &[OsString]) -> Result<bool, clap::Error> {
    let directory = std::env::current_dir().ok();
    CompleteEnv::with_factory(command).var(ASKS).try_complete(arguments.iter().cloned(), directory.as_deref())
}

/// The script with which this shell asks the `wireprof` in the path.
pub fn script(shell: &str) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let unknown = || std::io::Error::other(format!("no script for the shell {shell}"));
    let shell = Shells::builtins().completer(shell).ok_or_else(unknown)?.write_registration(
        ASKS,
        "wireprof",
        "wireprof",
        "wireprof",
        &mut script,
    );
    shell.map(|()| script)
}

fn command() -> Command {
    Arguments::command().mut_subcommands(offering)
}

/// The verb, its arguments with what they may be.
fn offering(verb: Command) -> Command {
    let reads = verb.get_arguments().any(|argument| ["run", "before"].contains(&argument.get_id().as_str()));
    let sections = match verb.get_name() {
        "compare" => compare::SECTIONS.to_vec(),
        "diff" => diff::SECTIONS.to_vec(),
        _ => shown::OF_RUN.to_vec(),
    };
    let verb = verb.mut_args(|argument: Arg| match argument.get_id().as_str() {
        "run" | "before" | "after" => argument.add(ArgValueCandidates::new(runs)),
        "level" | "levels" if reads => argument.add(ArgValueCandidates::new(levels)),
        "focus" => argument.add(ArgValueCandidates::new(foci)),
        "preset" => argument.add(ArgValueCandidates::new(|| BUILT_IN.map(|(name, _)| name.into()).into())),
        "section" => {
            let sections = sections.clone();
            argument.add(ArgValueCandidates::new(move || sections.iter().copied().map(Into::into).collect()))
        }
        _ => argument,
    });
    verb.mut_subcommands(offering)
}

/// The command line as far as it is typed.
fn typed() -> Vec<String> {
    std::env::args().skip_while(|word| word != "--").skip(1).collect()
}

/// The value of an option there.
fn given(words: &[String], option: &str) -> Option<String> {
    let joined = || words.iter().find_map(|word| Some(word.strip_prefix(option)?.strip_prefix('=')?.to_string()));
    let next = words.iter().position(|word| word == option).and_then(|at| words.get(at + 1));
    next.cloned().or_else(joined)
}

/// Where the runs are of which the command line speaks.
fn store(words: &[String]) -> Store {
    let elsewhere = given(words, "--runs").or_else(|| std::env::var("WIREPROF_RUNS").ok());
    Store::new(elsewhere.unwrap_or_else(|| "runs".into()))
}

/// The runs, the newest first.
fn manifests(store: &Store) -> Vec<Manifest> {
    let mut found = store.list().unwrap_or_default();
    found.sort_by(|a, b| b.id.cmp(&a.id));
    found
}

/// Names and ids of runs; their beginnings need no completion.
fn runs() -> Vec<CompletionCandidate> {
    let manifests = manifests(&store(&typed()));
    let names: BTreeSet<&String> = manifests.iter().filter_map(|manifest| manifest.name.as_ref()).collect();
    let named = names.into_iter().map(|name| CompletionCandidate::new(name.as_str()));
    let latest = (!manifests.is_empty()).then(|| CompletionCandidate::new("latest"));
    let ids = manifests.iter().map(|manifest| {
        let help = manifest.workload.statements.first().map(|statement| statement.as_str().to_string().into());
        CompletionCandidate::new(manifest.id.as_str()).help(help)
    });
    latest.into_iter().chain(named).chain(ids).collect()
}

/// The run that the command line names, else the newest.
fn run_in_question() -> Option<Manifest> {
    let words = typed();
    let store = store(&words);
    // The first word is the program, the second one the verb; a word that begins no run is something else.
    let named = words.iter().skip(2).filter(|word| !word.is_empty() && !word.starts_with('-'));
    let mut directories = named.filter_map(|word| store.find(word).ok());
    let directory = directories.next().or_else(|| store.find("latest").ok())?;
    Store::manifest_at(&directory).ok()
}

fn levels() -> Vec<CompletionCandidate> {
    let levels = run_in_question().map_or_else(Vec::new, |run| run.levels);
    levels.into_iter().map(|level| CompletionCandidate::new(level.to_string())).collect()
}

/// Names of what the preset has in focus: of the one that is asked for, else of the run's.
fn foci() -> Vec<CompletionCandidate> {
    let preset = given(&typed(), "--preset").or_else(|| Some(run_in_question()?.preset));
    let preset = preset.and_then(|name| Preset::load(&name).ok());
    let foci = preset.map_or_else(Vec::new, |preset| preset.focus);
    foci.into_iter().map(|focus| CompletionCandidate::new(focus.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_option_is_the_next_word_or_behind_the_equals_sign() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(given(&words("hot --runs there x"), "--runs").as_deref(), Some("there"));
        assert_eq!(given(&words("hot --runs=there x"), "--runs").as_deref(), Some("there"));
        assert_eq!(given(&words("hot --runs-of x"), "--runs"), None);
    }

    #[test]
    fn every_argument_that_is_a_run_a_level_a_focus_a_section_or_a_preset_offers_something() {
        let offers = |argument: &Arg| argument.get::<ArgValueCandidates>().is_some();
        let command = command();
        for (verb, wanted) in [
            ("explain", &["run", "level", "levels", "preset", "section"][..]),
            ("hot", &["run", "level", "focus", "preset"]),
            ("diff", &["before", "after", "level", "focus", "section"]),
            ("sweep", &["preset", "section"]),
        ] {
            let verb = command.find_subcommand(verb).unwrap();
            let offered = verb.get_arguments().filter(|argument| offers(argument));
            let offered: BTreeSet<&str> = offered.map(|argument| argument.get_id().as_str()).collect();
            assert!(wanted.iter().all(|name| offered.contains(name)), "{}: {offered:?}", verb.get_name());
        }
        let sweep = command.find_subcommand("sweep").unwrap();
        let planned = sweep.get_arguments().find(|argument| argument.get_id() == "levels").unwrap();
        assert!(!offers(planned), "the levels of a run that is not there yet are the user's to choose");
    }
}
