//! A campaign of faults: `faults [N] [SEED]` takes N rounds (100), each of which runs a verb of wireprof against a
//! target, does something bad at a random instant, and looks afterwards whether what was finished is kept, whether the
//! exit code and the words are right, and whether nothing is left. `faults 1 SEED` takes the round of that seed again.
//! `JOBS` rounds are taken at a time (4); `WIREPROF_PROGRAM` is the program (beside this one); with `VERBOSE` each
//! round tells how it ended, and `QUICK` leaves out those that wait for a minute. Ends with 1 if anything was violated.
//! `scripts/faults` builds and runs it.

mod cluster;
mod course;
mod ground;
mod inject;
mod kernel;
mod left;
mod oracle;
mod plan;
mod pretend;
mod servers;
mod shim;
mod target;

use anyhow::{Context, Result};
use ground::{Ground, Place};
use oracle::Judged;
use plan::{Fault, Round};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use target::Around;

/// Of all rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    violated: u64,
    /// Their verb had ended before the instant came.
    missed: u64,
    slowest: Duration,
    slowest_seed: u64,
}

pub fn main(arguments: &[String]) -> Result<ExitCode> {
    if arguments.first().is_some_and(|first| first == "serve") {
        pretend::serve(arguments.get(1))?;
        return Ok(ExitCode::SUCCESS);
    }
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().with_context(|| format!("{text}?")));
    let rounds = number(0).unwrap_or(Ok(100))?;
    let seed = number(1).unwrap_or_else(|| Ok(rand::random_range(0..1_000_000_000)))?;
    let jobs = std::env::var("JOBS").ok().map_or(Ok(4), |text| text.parse::<u64>())?;
    let own = std::env::current_exe()?.with_file_name("wireprof");
    let program = std::env::var_os("WIREPROF_PROGRAM").map_or(own, Into::into);
    println!("faults: {rounds} rounds from seed {seed}, {jobs} at a time");
    let begun = Instant::now();
    let ground = Ground::make(program)?;
    let quick = std::env::var_os("QUICK").is_some();
    let seeds = (seed..).filter(|seed| !quick || !Round::of(*seed).is_slow()).take(rounds as usize);
    let (next, tally) = (Mutex::new(seeds), Mutex::new(Tally::default()));
    let following = || next.lock().expect("nobody panics").next();
    let work = || {
        while let Some(seed) = following() {
            let (round, taken) = (Round::of(seed), take(&ground, &Round::of(seed)));
            tally.lock().expect("nobody panics").add(&round, taken);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(rounds) {
            scope.spawn(work);
        }
    });
    let Tally { rounds, violated, missed, slowest, slowest_seed } = tally.into_inner().expect("nobody panics");
    println!(
        "faults: {violated} of {rounds} rounds violated something; {missed} ended before their fault; the slowest \
         took {:.0} s (seed {slowest_seed}); {:.0} s in all",
        slowest.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::from(u8::from(violated > 0)))
}

/// What is to be told of a round.
struct Told {
    violations: Vec<String>,
    injected: bool,
    took: Duration,
    words: String,
}

fn take(ground: &Ground, round: &Round) -> Result<Told> {
    let place = Place::make(ground, round)?;
    let mut around = Around::start(ground, round, &place)?;
    if Around::begins_wrong(round) {
        around.metrics.iter().for_each(|server| server.misbehave(None));
    }
    let ended = course::take(ground, round, &place, &mut around)?;
    let mut judged = Judged { round, place: &place, around: &around, ended: &ended, violations: Vec::new() };
    judged.all();
    let how = match (ended.code, ended.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        _ => "hangs".into(),
    };
    let last = ended.err.iter().rev().find(|line| line.starts_with("wireprof: ")).cloned().unwrap_or_default();
    let words = format!("{how}, {} windows told, {last}", ended.windows.len());
    Ok(Told { violations: judged.violations, injected: ended.injected, took: ended.took, words })
}

impl Tally {
    fn add(&mut self, round: &Round, taken: Result<Told>) {
        self.rounds += 1;
        let Round { seed, .. } = round;
        let told = match taken {
            Ok(told) => told,
            Err(error) => {
                self.violated += 1;
                println!("seed {seed}: {round}: the round could not be taken: {error:#}");
                return;
            }
        };
        if std::env::var_os("VERBOSE").is_some() {
            println!("seed {seed}: {round}: {}; {:.1} s", told.words, told.took.as_secs_f64());
        }
        self.missed += u64::from(!told.injected && round.fault != Fault::None);
        self.violated += u64::from(!told.violations.is_empty());
        if told.took > self.slowest {
            (self.slowest, self.slowest_seed) = (told.took, *seed);
        }
        for violation in &told.violations {
            println!("VIOLATED, seed {seed}: {round}: {violation}; again: scripts/faults 1 {seed}");
        }
    }
}
