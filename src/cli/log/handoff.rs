//! `wireprof log handoff`: what comes next, and marks in the prompt that hands the work on. Invariant: a prompt
//! changes only where the user said so, by marks and steps that are added; every other byte stays.

use super::existing;
use crate::analyze::judge::diagnose::Confidence;
use crate::cli::diagnose::all_levels;
use crate::cli::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::perflog::{Document, Open, Prompt, open, read_prompt, write_prompt};
use crate::render::envelope;
use crate::run::{Parts, Run};
use crate::vcs::{commit_file, is_unchanged};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};

/// Next steps: those of the prompt, of the log and of a run's diagnosis; marks the prompt's steps as done
#[derive(Args)]
#[command(next_help_heading = "The steps")]
pub struct Handoff {
    /// The prompt: a text with a list under a line such as `Next steps:`
    #[arg(help_heading = ARGUMENTS)]
    prompt: PathBuf,
    /// Run whose diagnosis gives steps [default: none]
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Mark these steps as done, by the numbers that are printed
    #[arg(long, value_name = "N,N,..", value_delimiter = ',')]
    done: Vec<usize>,
    /// Session in which they were done [default: the log's last]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
    /// Add this step to the list; may be repeated
    #[arg(long, value_name = "TEXT")]
    add: Vec<String>,
    /// Commit the prompt's file as a change of its own, under jj or git
    #[arg(long)]
    commit: bool,
}

/// What one may take up.
struct Next {
    prompt: Prompt,
    log: Vec<Open>,
    /// By the run's diagnosis.
    suggested: Vec<String>,
}

impl Handoff {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let before = read_prompt(&self.prompt)?;
        let log = if path.exists() { Some(existing(path)?) } else { None };
        if self.done.is_empty() && self.add.is_empty() {
            if self.commit {
                return Err(usage(anyhow!("--commit records marks and added steps: give --done or --add with it")));
            }
            return self.show(common, before, log.as_ref());
        }
        if self.commit && !is_unchanged(&self.prompt)? {
            let name = self.prompt.display();
            return Err(usage(anyhow!(
                "{name} is not tracked or has changes of its own, which would go into the same commit: commit it first"
            )));
        }
        let session = self.session.or(log.as_ref().and_then(Document::newest).map(|entry| entry.number));
        let mut after = before.with_done(&self.done, session).map_err(|error| usage(error.into()))?;
        for step in &self.add {
            after = after.with_step(step).map_err(|error| usage(error.into()))?;
        }
        write_prompt(&self.prompt, &after)?;
        let name = self.prompt.display().to_string();
        let difference = before.difference(&after, &name);
        let committed = self.commit.then(|| commit_file(&self.prompt, &self.message(session))).transpose()?;
        if common.json {
            let mut value = envelope(&common.verb, &[]);
            value["prompt"] = serde_json::json!({"file": name, "done": self.done, "added": self.add,
                "difference": difference, "committed_with": committed});
            return output::json(&value);
        }
        let committed = committed.map_or(String::new(), |tool| format!("committed with {tool}\n"));
        output::text(&format!("{difference}{committed}"))
    }

    fn message(&self, session: Option<u64>) -> String {
        let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !self.done.is_empty() {
            parts.push(format!("step {} done", list(&self.done)));
        }
        if !self.add.is_empty() {
            parts.push(format!("{} more to take", self.add.len()));
        }
        let session = session.map_or(String::new(), |number| format!(" (session {number})"));
        format!("Next steps: {}{session}", parts.join(", "))
    }

    fn show(&self, common: &Common, prompt: Prompt, log: Option<&Document>) -> Result<Outcome> {
        let suggested = match &self.run {
            Some(run) => suggestions(&input::load(common, run, Parts::ALL)?.run)?,
            None => Vec::new(),
        };
        let next = Next { prompt, log: log.map(open).unwrap_or_default(), suggested };
        if common.json {
            let steps: Vec<_> = next
                .prompt
                .steps()
                .iter()
                .map(|s| serde_json::json!({"number": s.number, "line": s.line, "done": s.done, "text": s.text}))
                .collect();
            let mut value = envelope(&common.verb, &[]);
            value["prompt"] = serde_json::json!({"file": self.prompt, "steps": steps, "open_in_log": next.log,
                "suggested": next.suggested});
            return output::json(&value);
        }
        output::text(&self.text(&next))
    }

    fn text(&self, next: &Next) -> String {
        let mut text = format!("Steps of {}:\n", self.prompt.display());
        let to_take: Vec<_> = next.prompt.steps().iter().filter(|step| !step.done).collect();
        to_take.iter().for_each(|step| text += &format!("  {}. {} (line {})\n", step.number, step.text, step.line));
        let done = next.prompt.steps().len() - to_take.len();
        text += &match (to_take.len(), done) {
            (0, 0) => "  there is no list under a line such as `Next steps:`\n".to_string(),
            (_, 0) => String::new(),
            (_, done) => format!("  and {done} done\n"),
        };
        if !next.log.is_empty() {
            text += "Open in the log:\n";
            next.log.iter().for_each(|o| text += &format!("  session {}, line {}: {}\n", o.session, o.line, o.text));
        }
        if let Some(run) = &self.run {
            text += &format!("By the diagnosis of {run}:\n");
            next.suggested.iter().for_each(|step| text += &format!("  {step}\n"));
        }
        text + "Mark what is done with --done N, add a step with --add TEXT.\n"
    }
}

/// What the findings at the highest level say is to be tried next; confident ones first.
fn suggestions(run: &Run) -> Result<Vec<String>> {
    let preset = input::preset(&run.manifest, None)?;
    let Some(diagnosis) = all_levels(run, &preset).pop() else {
        return Ok(vec!["nothing: no level of the run has a latency to be diagnosed".into()]);
    };
    let level = diagnosis.level;
    let words = |confidence| match confidence {
        Confidence::Confident => "",
        Confidence::Masked => "masked by saturated CPUs: ",
        Confidence::Possible => "possibly: ",
    };
    let step = |verdict: &crate::analyze::judge::diagnose::Finding| {
        format!("{}{} (at {level} clients): {}", words(verdict.confidence), verdict.sentence, verdict.next)
    };
    Ok(diagnosis.verdicts.iter().map(step).collect())
}

fn usage(error: anyhow::Error) -> anyhow::Error {
    anyhow!(Usage(error))
}
