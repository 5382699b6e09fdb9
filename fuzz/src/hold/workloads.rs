//! Workloads: dbbench scripts and output, pgbench scripts, SQL. Invariant: what was understood is written and
//! understood again; tokens cover a text without a gap, so that no part of a statement is lost.

use super::{memory_file, text};
use crate::load::parse_output;
use crate::sql::without_constants;
use crate::workload::pgbench::{self, Action, Scope, Variable};
use crate::workload::script::{statements, words};
use crate::workload::sql::{Token, is_blank, tokens};
use crate::workload::{Work, Workload};
use rand::SeedableRng;
use std::path::Path;

/// A script of dbbench's.
pub fn ini(bytes: &[u8]) {
    let text = text(bytes);
    // Files that a script names are the user's own.
    if text.contains("file") {
        return;
    }
    let nowhere = Path::new("/nonexistent");
    let Ok(workload) = Workload::parse(&text, nowhere, "w.ini") else { return };
    assert!(!workload.jobs.is_empty());
    for level in [workload.jobs.len(), 64, 1000] {
        let Ok(parts) = workload.connections(level) else { continue };
        assert!(parts.iter().sum::<usize>() == level && parts.iter().all(|part| *part > 0), "{level}: {parts:?}");
        let Ok(written) = workload.to_ini(level) else { continue };
        let again = Workload::parse(&written, nowhere, "again").unwrap_or_else(|why| panic!("{why}\n{written}"));
        let named = |of: &Workload| of.jobs.iter().map(|job| job.name.trim().to_string()).collect::<Vec<_>>();
        assert_eq!(named(&again), named(&workload));
        let alike = |of: &Workload| -> Vec<String> {
            of.jobs.iter().flat_map(|job| job.statements().map(without_blanks).collect::<Vec<_>>()).collect()
        };
        assert_eq!(alike(&again), alike(&workload), "{written}");
    }
}

/// What a statement consists of: lines are joined where nothing is within quotes.
fn without_blanks(sql: &str) -> String {
    let words: Vec<&str> = tokens(sql).filter(|(token, _)| *token != Token::Blank).map(|(_, at)| &sql[at]).collect();
    words.join(" ")
}

/// A script of pgbench's, run once.
pub fn pgbench(bytes: &[u8]) {
    let path = memory_file("script.pgbench", bytes);
    let Ok(workload) = pgbench::load(&[path.display().to_string()], &[]) else { return };
    let Work::Scripts(mix) = &workload.jobs[0].work else { return };
    let mut variables = vec![Variable::Value(pgbench::Value::Int(1)); mix.names.len()];
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    for script in &mix.scripts {
        let commands = script.commands.len();
        for command in &script.commands {
            let mut scope = Scope { variables: &variables, names: &mix.names, random: &mut random };
            match &command.action {
                Action::Set { slot, expression } => {
                    if let Ok(value) = scope.evaluate(expression) {
                        variables[*slot] = Variable::Value(value);
                    }
                }
                Action::Unless { condition, goto } => {
                    let _ = scope.holds(condition);
                    assert!(*goto <= commands);
                }
                Action::Goto(goto) => assert!(*goto <= commands),
                Action::Send(_) | Action::Sleep { .. } => {}
            }
        }
    }
}

/// SQL, cut into statements.
pub fn sql(bytes: &[u8]) {
    let text = text(bytes);
    let mut at = 0;
    for (_, range) in tokens(&text) {
        assert!(range.start == at && range.end > at, "without a gap: {range:?} behind {at}");
        at = range.end;
    }
    assert_eq!(at, text.len());
    let shape = without_constants(&text);
    assert!(shape.len() <= text.len() + 1, "{shape}");
    assert!(!shape.contains("  "), "{shape}");
    words(&text);
    let Ok(cut) = statements(&text) else { return };
    let letters = |text: &str| text.chars().filter(|c| !is_blank(*c) && !"\\;".contains(*c)).count();
    let all = letters(text.trim_start_matches('\u{feff}'));
    assert!(cut.iter().map(|statement| letters(statement)).sum::<usize>() <= all, "nothing is made up");
    for statement in &cut {
        assert!(!statement.is_empty() && statement.trim_matches(is_blank) == statement, "{statement:?}");
    }
}

/// What dbbench prints.
pub fn dbbench(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(jobs) = parse_output(&text) else { return };
    assert!(!jobs.is_empty() && jobs.len() <= text.lines().count());
    let mut names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), jobs.len(), "each job once");
}
