//! `wireprof ladder`: workloads from the least to the whole, by turns at every level.

use super::conduct::{self, cut};
use super::overview::guards_failing;
use super::progress::Progress;
use super::sweep::Sweep;
use super::{Common, Outcome, Usage};
use crate::analyze::ladder::ladder;
use crate::preset::{Guards, Preset, Rung};
use crate::render::{Ladder as Answer, ladder_report};
use crate::run::{Manifest, Parts, Run, Store, run_id};
use crate::sweep::{self, Arm, Asked, Cut, Ended, Launch, Request, Turns, rounds};
use crate::workload::Workload;
use anyhow::{Result, anyhow};
use clap::Args;

/// Measure an empty query, `select 1` and the workload by turns: what each adds, at every level
#[derive(Args)]
#[command(
    about = "Measure an empty query, `select 1` and the workload by turns: what each adds, at every level",
    mut_arg("replicates", |argument| argument.default_value("3")),
    mut_arg("restart", |argument| argument.hide(true)),
    mut_arg("observer_cost", |argument| argument.hide(true)),
    mut_arg("pairs", |argument| argument.hide(true)),
    mut_arg("pair_window", |argument| argument.hide(true)),
    mut_arg("no_flamegraphs", |argument| argument.hide(true)),
    after_help = "\
The rungs are the preset's ([[rung]]): what costs least first, so that the protocol's own cost is measured and not what is left of
the rest. Each rung is stored as a run: `wireprof diff LOWER UPPER`, `hot` and `explain` read them. --restore puts the server's
settings back.

Examples:
  wireprof ladder --testbed --levels 1,16,64
  wireprof ladder --preset materialize --levels 1,64 --window 5s --replicates 4 --restore
  wireprof ladder --preset postgres --url postgres://app@localhost/db --query 'select * from t where id = 1'"
)]
pub struct Ladder {
    #[command(flatten)]
    sweep: Sweep,
}

impl Ladder {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::runtime()?.block_on(self.conduct(common))
    }

    async fn conduct(self, common: &Common) -> Result<Outcome> {
        let (stop, progress, preset) = (conduct::stop_on_interrupt(), Progress::new(), self.sweep.preset()?);
        let mut request = self.request(&preset)?;
        if self.sweep.testbed {
            progress.working("starting the testbed and its PostgreSQL");
        }
        let launched = tokio::task::block_in_place(|| self.sweep.launch().start(&mut request, &stop))?;
        if stop.requested() {
            return Err(cut("ladder", Cut::Interrupted.into(), 0));
        }
        let store = Store::new(&common.runs);
        let planned = rounds(preset.rung.len(), request.replicates, request.seed);
        let mut turns = Turns::new(&store, &stop, arms(&preset, &request), planned.clone());
        let (mut tell, mut ended) = (|event: sweep::Event| progress.event(event), None);
        for turn in planned {
            if let Err(error) = turns.take(turn, &mut tell).await {
                ended = Some(error);
                break;
            }
        }
        if self.sweep.restore {
            match turns.put_back().await {
                Ok(done) => done.iter().for_each(|sql| progress.note(&format!("put back: {sql}"))),
                Err(error) => progress.note(&format!("{error:#}")),
            }
        }
        let rungs = turns.end(ended.as_ref())?;
        tokio::task::block_in_place(|| drop(launched));
        progress.done();
        self.answer(common, &store, &rungs, ended)
    }

    /// What is asked for, without what a ladder does not have.
    fn request(&self, preset: &Preset) -> Result<Request> {
        let usage = |why: String| Err(anyhow!(Usage(anyhow!(why))));
        if preset.rung.len() < 2 {
            return usage(format!(
                "preset {} has no ladder: give it two [[rung]] or more, or inherit them",
                preset.name
            ));
        }
        if self.sweep.observer_cost {
            return usage("what observing costs is measured with `wireprof sweep --observer-cost`".into());
        }
        let request = self.sweep.request(preset.clone())?;
        sweep::check(&request)?;
        Ok(request)
    }

    /// The table; then the error that cut the ladder short, if any.
    fn answer(&self, common: &Common, store: &Store, rungs: &[Ended], ended: Option<anyhow::Error>) -> Result<Outcome> {
        let finished = rungs.iter().map(|rung| rung.finished).sum();
        if finished == 0 {
            return Err(cut("ladder", ended.unwrap_or_else(|| anyhow!("no window was finished")), 0));
        }
        let load = |rung: &Ended| store.load_parts(&rung.directory.display().to_string(), Parts::NONE);
        let runs: Vec<Run> = rungs.iter().map(load).collect::<Result<_>>()?;
        let failing: Vec<usize> = runs.iter().map(guards_failing).collect();
        let answer = Answer {
            rungs: &runs.iter().map(|run| &run.manifest).collect::<Vec<&Manifest>>(),
            costs: &ladder(&runs),
            failing: &failing,
            cut: ended.as_ref().map(|_| "Cut short: not every rung has all its windows.".into()),
        };
        self.sweep.names.report(common, ladder_report(&answer))?;
        match ended {
            Some(error) => Err(cut("ladder", error, finished)),
            None if failing.iter().any(|count| *count > 0) => Ok(Outcome::CheckFailed),
            None => Ok(Outcome::Done),
        }
    }
}

/// The preset's rungs, from the bottom.
fn arms(preset: &Preset, base: &Request) -> Vec<Arm> {
    let ladder = run_id(std::time::SystemTime::now(), &format!("{}-ladder", preset.name));
    let arm = |rung: &Rung| {
        let mut request = base.clone();
        request.session = rung.session.clone();
        if let Some(statement) = &rung.statement {
            let Workload { setup, teardown, .. } =
                std::mem::replace(&mut request.workload, Workload::from_query(statement));
            (request.workload.setup, request.workload.teardown) = (setup, teardown);
            // The code path that the preset guards is the workload's.
            request.preset.guards = Guards { focus: None, ..request.preset.guards };
        }
        let statement = rung.statement.iter().map(|sql| format!("statement: `{sql}`"));
        let setup = statement.chain(rung.session.iter().map(|sql| format!("session: {sql}"))).collect();
        let side = Some(Asked { name: rung.name.clone(), setup, ladder: Some(ladder.clone()) });
        Arm { request, launch: Launch::Nothing, side }
    };
    preset.rung.iter().map(arm).collect()
}
