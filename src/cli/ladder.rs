//! `wireprof ladder`: workloads from the least to the whole, by turns at every level.

use super::conduct::{self, cut};
use super::diagnose::keep_verdicts;
use super::names::Names;
use super::overview::checks_failing;
use super::own_load::OwnLoad;
use super::progress::Progress;
use super::shown::{Answered, Shown, after_measuring, answer_of, not_measured, reference};
use super::{Common, Outcome, Usage, input};
use crate::analyze::compare::ladder::ladder;
use crate::preset::{Checks, Preset, Rung};
use crate::render::{Framing, Ladder as Answer, Report, answer_lines, answer_value, ladder_report};
use crate::run::{Manifest, Parts, Run, Store, name_of_part, run_id};
use crate::sweep::{self, Arm, Ended, Event, Launch, Request, SideSpec, Turns, rounds};
use crate::workload::Workload;
use anyhow::{Result, anyhow};
use clap::Args;

/// Measure an empty query, `select 1` and the workload by turns: what each adds, at every level
#[derive(Args)]
#[command(after_help = "\
The rungs are the preset's ([[rung]]): what costs least first, so that the protocol's own cost is measured and not \
what is left of the rest. Each rung is stored as a run: `wireprof diff LOWER UPPER`, `hot` and `explain` read them. \
--restore puts the server's settings back.

Examples:
  wireprof ladder --testbed --levels 1,16,64
  wireprof ladder --preset materialize --levels 1,64 --window 5s --restore
  wireprof ladder --preset postgres --url postgres://app@localhost/db \\
      --query 'select * from t where id = 1'")]
pub struct Ladder {
    #[command(flatten)]
    own: OwnLoad,
    /// Windows per level
    #[arg(long, value_name = "K", default_value_t = 3, help_heading = "Plan")]
    replicates: usize,
    #[command(flatten, next_help_heading = "Output")]
    names: Names,
}

impl Ladder {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::runtime()?.block_on(self.conduct(common))
    }

    async fn conduct(self, common: &Common) -> Result<Outcome> {
        let (stop, progress, store) = (conduct::stop_on_interrupt()?, Progress::new(), Store::new(&common.runs));
        let connect = &self.own.connect;
        self.own.name.check(&store)?;
        let mut request = self.request(&progress).await?;
        let preset = request.preset.clone();
        request.observe.live = progress.is_live();
        progress.plan(&request.plan, request.observe.follow, preset.rung.len(), false);
        if connect.testbed {
            progress.working("starting the testbed and its PostgreSQL");
        }
        // One process for all rungs: what differs between them is the load's alone.
        let launched = tokio::task::block_in_place(|| connect.launch(&[]).start(&mut request, &stop))?;
        let planned = rounds(preset.rung.len(), request.plan.replicates, request.plan.seed);
        let turns = Turns::new(&store, &stop, arms(&preset, &request), planned, connect.restore);
        let outcome = turns.take_all(&mut |event: Event| progress.event(event)).await;
        tokio::task::block_in_place(|| drop(launched));
        progress.done();
        self.answer(common, &store, &preset, outcome)
    }

    /// What is asked for, refused where the preset has no ladder.
    async fn request(&self, progress: &Progress) -> Result<Request> {
        let preset = self.own.connect.preset()?;
        if preset.rung.len() < 2 {
            let why = anyhow!("preset {} has no ladder: give it two [[rung]] or more, or inherit them", preset.name);
            return Err(anyhow!(Usage(why)));
        }
        let request = self.own.suited(self.replicates.max(1), None, progress).await?;
        arms(&request.preset, &request).iter().try_for_each(|arm| sweep::check(&arm.request))?;
        Ok(request)
    }

    /// The table; then the error that cut the ladder short, if any.
    fn answer(&self, common: &Common, store: &Store, preset: &Preset, outcome: sweep::SweepEnd) -> Result<Outcome> {
        if outcome.finished() == 0 {
            return Err(cut("ladder", outcome));
        }
        let load = |rung: &Ended| store.load_parts(&rung.directory.display().to_string(), Parts::NONE);
        let runs: Vec<Run> = outcome.runs.iter().map(load).collect::<Result<_>>()?;
        let failing: Vec<usize> = runs.iter().map(checks_failing).collect();
        let answer = Answer {
            rungs: &runs.iter().map(|run| &run.manifest).collect::<Vec<&Manifest>>(),
            costs: &ladder(&runs),
            failing: &failing,
            cut: (!outcome.whole).then(|| "Cut short: not every rung has all its windows.".into()),
        };
        let directories: Vec<_> = outcome.runs.iter().map(|ended| ended.directory.as_path()).collect();
        keep_verdicts(&directories, preset);
        self.print(common, &ladder_report(&answer), store, &outcome)?;
        match outcome.cut {
            Some(_) => Err(cut("ladder", outcome)),
            None if failing.iter().any(|count| *count > 0) => Ok(Outcome::CheckFailed),
            None => Ok(Outcome::Done),
        }
    }
}

impl Ladder {
    /// The answer of the last rung, which is the workload, and the table.
    fn print(&self, common: &Common, report: &Report, store: &Store, outcome: &sweep::SweepEnd) -> Result<Outcome> {
        let Some(last) = outcome.runs.last().filter(|rung| rung.finished > 0) else {
            return self.names.report(common, report.clone());
        };
        let run = store.load(&last.directory.display().to_string())?;
        let preset = input::preset(&run.manifest, None);
        let answer = answer_of(&run, &preset, None);
        let next = after_measuring(&reference(common, &run, &last.directory));
        let framing = Framing { width: common.width, next, ..Framing::default() };
        let (lines, value, shown) =
            (answer_lines(&answer, &framing), answer_value(&answer, &framing.next), Shown::whole());
        let page = Answered {
            common,
            names: &self.names,
            shown: &shown,
            lines: &lines,
            value: &value,
            runs: std::slice::from_ref(&answer.run),
            lacking: not_measured,
        };
        page.beginning(|| report.clone(), Vec::new, Vec::new)
    }
}

/// The preset's rungs, from the bottom.
fn arms(preset: &Preset, base: &Request) -> Vec<Arm> {
    let ladder = run_id(std::time::SystemTime::now(), &format!("{}-ladder", preset.name));
    let arm = |rung: &Rung| {
        let mut request = base.clone();
        request.load.session = rung.session.clone();
        if let Some(statement) = &rung.statement {
            let Workload { setup, teardown, .. } =
                std::mem::replace(&mut request.load.workload, Workload::from_query(statement));
            (request.load.workload.setup, request.load.workload.teardown) = (setup, teardown);
            // The code path that the preset checks is the workload's.
            request.preset.checks = Checks { focus: None, ..request.preset.checks };
        }
        let statement = rung.statement.iter().map(|sql| format!("statement: `{sql}`"));
        let setup = statement.chain(rung.session.iter().map(|sql| format!("session: {sql}"))).collect();
        request.name = request.name.map(|name| name_of_part(&name, &rung.name));
        let side = Some(SideSpec { name: rung.name.clone(), setup, ladder: Some(ladder.clone()) });
        Arm { request, launch: Launch::Nothing, side }
    };
    preset.rung.iter().map(arm).collect()
}
