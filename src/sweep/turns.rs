//! Replicates that begin anew: the target is started or set up for each turn, and ended or put back after it, of one arm, or of
//! several by turns. Invariant: whatever ends a turn, nothing of it is left on the target when the next one begins, and every
//! finished window is on disk.

use super::{Applied, Connections, Event, Launch, Launched, Prepared, Request, Sources, Stop, one, prepare, restore};
use crate::load::run_script;
use crate::run::{Look, Manifest, Reserved, RunWriter, Side, Store, run_id};
use crate::symbol::Symbolizer;
use anyhow::{Result, bail};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::time::Duration;

const TEARDOWN_LIMIT: Duration = Duration::from_secs(60);

/// What is measured by turns: how it is asked for, what is started for it.
pub struct Arm {
    pub request: Request,
    pub launch: Launch,
    /// `None` for an arm by itself.
    pub side: Option<Asked>,
}

/// A side as the user asked for it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub name: String,
    /// What is set for this side only.
    pub setup: Vec<String>,
    /// The ladder that this is a rung of; `None`: a side of a comparison.
    pub ladder: Option<String>,
}

/// One replicate of one arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 0.
    pub arm: usize,
    /// From 1.
    pub replicate: usize,
}

/// Two arms by turns, pair by pair: ABBA BAAB ABBA ..., or the other way round, as the seed has it. Within each four turns a
/// steady drift adds as much to one arm as to the other, and a curved one cancels over eight (a counterbalanced, or Thue-Morse,
/// order).
pub fn pairs(replicates: usize, seed: u64) -> Vec<Turn> {
    let begins = usize::from(rand::rngs::StdRng::seed_from_u64(seed).random::<bool>());
    let pair = |replicate: usize| {
        // The pairs AB BA BA AB repeat every four.
        let first = begins ^ usize::from([false, true, true, false][(replicate - 1) % 4]);
        [first, 1 - first].map(|arm| Turn { arm, replicate })
    };
    (1..=replicates).flat_map(pair).collect()
}

/// Any number of arms by turns: in random order, then in the reverse one, so that within two replicates a steady drift adds as much
/// to one arm as to another.
pub fn rounds(arms: usize, replicates: usize, seed: u64) -> Vec<Turn> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..arms).collect();
    let mut turns = Vec::new();
    for replicate in 1..=replicates {
        if replicate % 2 == 1 {
            order.shuffle(&mut random);
        } else {
            order.reverse();
        }
        turns.extend(order.iter().map(|arm| Turn { arm: *arm, replicate }));
    }
    turns
}

/// The turns as letters.
pub fn letters(turns: &[Turn]) -> String {
    turns.iter().map(|turn| letter(turn.arm)).collect()
}

fn letter(arm: usize) -> char {
    char::from(b'A' + (arm % 26) as u8)
}

/// Arms under way, each a run on disk.
pub struct Turns<'a> {
    store: &'a Store,
    stop: &'a Stop,
    arms: Vec<Running>,
    turns: Vec<Turn>,
    /// What presets changed on servers that run on, and by which connections.
    changed: Vec<(Applied, Connections)>,
}

struct Running {
    arm: Arm,
    /// The directory of an arm among several, from the first turn of any of them until its own; arms name each other.
    reserved: Option<Reserved>,
    /// The run's id; `None` until the first turn.
    id: Option<String>,
    writer: Option<RunWriter>,
    finished: usize,
    /// Build of the first turn's target.
    build: Option<Option<String>>,
}

/// One arm's run after the last turn.
pub struct Ended {
    pub directory: PathBuf,
    pub manifest: Manifest,
    /// Windows on disk.
    pub finished: usize,
}

impl<'a> Turns<'a> {
    /// One arm, or several by `turns`.
    pub fn new(store: &'a Store, stop: &'a Stop, arms: Vec<Arm>, turns: Vec<Turn>) -> Self {
        let running = |arm: Arm| Running { arm, reserved: None, id: None, writer: None, finished: 0, build: None };
        Turns { store, stop, arms: arms.into_iter().map(running).collect(), turns, changed: Vec::new() }
    }

    /// All turns planned.
    pub fn planned(&self) -> &[Turn] {
        &self.turns
    }

    /// Gives each arm of several its id, before the first of them tells the others'.
    fn reserve(&mut self) -> Result<()> {
        let now = std::time::SystemTime::now();
        for running in self.arms.iter_mut().filter(|running| running.id.is_none()) {
            let Some(side) = &running.arm.side else { continue };
            let name = format!("{}-{}", running.arm.request.preset.name, side.name);
            let reserved = self.store.reserve(&run_id(now, &name))?;
            running.id = Some(reserved.id().to_string());
            running.reserved = Some(reserved);
        }
        Ok(())
    }

    /// Plans fewer.
    pub fn keep(&mut self, turns: usize) {
        self.turns.truncate(turns);
    }

    /// Where an arm's run lies; `None` before its first turn.
    pub fn directory(&self, arm: usize) -> Option<String> {
        self.arms[arm].writer.as_ref().map(|writer| writer.directory().display().to_string())
    }

    /// Measures one turn: a window at each level.
    pub async fn take(&mut self, turn: Turn, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        if self.stop.requested() {
            bail!(super::Cut::Interrupted);
        }
        self.reserve()?;
        let of = self.turns.len() / self.arms.len();
        let whose = self.arms[turn.arm].arm.side.as_ref().map_or(String::new(), |side| format!(" of {}", side.name));
        tell(Event::Preparing(&format!("replicate {} of {of}{whose}", turn.replicate)));
        let arm = &self.arms[turn.arm].arm;
        let mut request = arm.request.clone();
        let launched = tokio::task::block_in_place(|| arm.launch.start(&mut request, self.stop))?;
        let prepared = prepare(request).await?;
        let measured = self.measure(turn, prepared, tell).await;
        if !matches!(launched, Launched::Nothing) {
            tokio::task::block_in_place(|| drop(launched));
        }
        measured
    }

    /// The windows of a turn, then what puts the target back, whatever became of them.
    async fn measure(&mut self, turn: Turn, prepared: Prepared, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        let Prepared { mut sources, manifest, connections, applied, own, address, workload, timing } = prepared;
        let windows = async {
            let side = self.side(turn.arm);
            let running = &mut self.arms[turn.arm];
            running.begin(self.store, manifest, side)?;
            let Running { arm, writer: Some(writer), finished, .. } = running else { return Ok(()) };
            let preset = &arm.request.preset;
            warm(&mut sources, tell);
            let mut symbolizer = Symbolizer::new(Default::default());
            let order = writer.manifest.order.clone();
            let of = order.len();
            let own_windows = order.iter().enumerate().filter(|(_, id)| id.replicate == turn.replicate);
            for (index, id) in own_windows {
                let seconds = (timing.warmup + timing.window).as_secs_f64();
                tell(Event::Started { id: *id, index, of, seconds });
                let stored = one(writer, preset, &mut sources, timing, *id, self.stop, &mut symbolizer, tell).await?;
                *finished += 1;
                tell(Event::Finished { window: &stored, index, of });
            }
            Ok(())
        };
        let windows = windows.await;
        let dropped = match sources.freshness.take() {
            Some(probe) => probe.close().await,
            None => Ok(()),
        };
        let script = tokio::task::block_in_place(|| run_script(&address, &workload.teardown, TEARDOWN_LIMIT));
        let back = match &connections {
            Some(connections) => restore(own, connections).await.map(drop),
            None => Ok(()),
        };
        let stays = !self.arms[turn.arm].arm.launch.restarts() && !applied.changes.is_empty();
        self.changed.extend(connections.filter(|_| stays).map(|connections| (applied, connections)));
        // What ended the windows is the cause of what follows from it.
        windows.and(dropped).and(script.map_err(Into::into)).and(back)
    }

    /// What the manifest of an arm says of its side.
    fn side(&self, arm: usize) -> Option<Side> {
        let asked = self.arms[arm].arm.side.clone()?;
        let partner = if asked.ladder.is_none() { Some(1 - arm) } else { arm.checked_sub(1) };
        let partner = partner.and_then(|arm| self.arms[arm].id.clone()).unwrap_or_default();
        let (letter, turns) = (letter(arm), letters(&self.turns));
        Some(Side { name: asked.name, partner, letter, setup: asked.setup, turns, look: None, ladder: asked.ladder })
    }

    /// Keeps what the last look may be wrong by with both runs, so that it can be judged again later.
    pub fn looked(&mut self, look: Look) -> Result<()> {
        for running in &mut self.arms {
            let Some(writer) = &mut running.writer else { continue };
            writer.manifest.side.iter_mut().for_each(|side| side.look = Some(look));
            writer.write_manifest()?;
        }
        Ok(())
    }

    /// Puts back what presets changed on servers that run on; gives what was done.
    pub async fn put_back(&mut self) -> Result<Vec<String>> {
        let (mut done, mut first_error) = (Vec::new(), None);
        while let Some((applied, connections)) = self.changed.pop() {
            match restore(applied, &connections).await {
                Ok(statements) => done.extend(statements),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(done), Err)
    }

    /// Ends all runs: complete, though perhaps with fewer replicates than were planned, or cut short by `cut`.
    pub fn end(self, cut: Option<&anyhow::Error>) -> Result<Vec<Ended>> {
        let end = |running: Running| {
            let Running { writer, finished, .. } = running;
            writer.map(|mut writer| {
                let planned = writer.manifest.order.len();
                match cut {
                    Some(error) => {
                        writer.finish(&format!("cut short after {finished} of {planned} windows: {error:#}"))?;
                    }
                    None => {
                        writer.manifest.order.truncate(finished);
                        writer.manifest.replicates = finished / writer.manifest.levels.len().max(1);
                        writer.finish("complete")?;
                    }
                }
                let directory = writer.directory().to_path_buf();
                Ok(Ended { directory, manifest: writer.manifest, finished })
            })
        };
        self.arms.into_iter().filter_map(end).collect()
    }
}

impl Running {
    /// Creates the run at the first turn; later ones tell their own target and what was noted of it.
    fn begin(&mut self, store: &Store, mut manifest: Manifest, side: Option<Side>) -> Result<()> {
        let build = self.build.get_or_insert_with(|| manifest.target.build_id.clone());
        if *build != manifest.target.build_id {
            let none = || "unknown".to_string();
            bail!(
                "the server's build has changed between two replicates, from {} to {}: leave its executable alone while it is \
                 measured, and begin again",
                build.clone().unwrap_or_else(none),
                manifest.target.build_id.clone().unwrap_or_else(none)
            );
        }
        let Some(writer) = &mut self.writer else {
            manifest.restarted = self.arm.launch.restarts();
            manifest.side = side;
            let reserved = match self.reserved.take() {
                Some(reserved) => reserved,
                None => store.reserve(&manifest.id)?,
            };
            self.id = Some(reserved.id().to_string());
            self.writer = Some(reserved.begin(manifest)?);
            return Ok(());
        };
        writer.manifest.target = manifest.target;
        for note in manifest.notes {
            if !writer.manifest.notes.contains(&note) {
                writer.manifest.notes.push(note);
            }
        }
        writer.write_manifest()
    }
}

/// What takes the sampler long is done before the first window.
pub(super) fn warm(sources: &mut Sources, tell: &mut (dyn FnMut(Event) + Send)) {
    let sampled = sources.sampled();
    if let Some(sampler) = &mut sources.sampler {
        let tell = parking_lot::Mutex::new(&mut *tell);
        let progress = |text: &str| (tell.lock())(Event::Preparing(text));
        // What fails here fails again, and is told, when the first window begins to sample.
        let _ = tokio::task::block_in_place(|| sampler.prepare(&sampled, &progress));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_two_rounds_a_steady_drift_falls_on_all_arms_alike() {
        for seed in 0..20 {
            let turns = rounds(4, 4, seed);
            for two in turns.chunks(8) {
                let drift = |arm: usize| -> usize { (0..8).filter(|at| two[*at].arm == arm).sum() };
                assert!((1..4).all(|arm| drift(arm) == drift(0)), "{}", letters(&turns));
            }
            assert!(turns.chunks(4).zip(1..).all(|(round, replicate)| round.iter().all(|t| t.replicate == replicate)));
        }
        assert!((0..20).any(|seed| letters(&rounds(4, 1, seed)) != "ABCD"));
    }

    #[test]
    fn pairs_alternate_so_that_a_steady_drift_falls_on_both_arms_alike() {
        for seed in 0..20 {
            let turns = pairs(8, seed);
            let text = letters(&turns);
            assert!(text == "ABBABAABABBABAAB" || text == "BAABABBABAABABBA", "{text}");
            for four in turns.chunks(4) {
                let drift = |arm: usize| -> usize { (0..4).filter(|at| four[*at].arm == arm).sum() };
                assert_eq!(drift(0), drift(1));
            }
            for arm in [0, 1] {
                let own: Vec<usize> = turns.iter().filter(|t| t.arm == arm).map(|t| t.replicate).collect();
                assert_eq!(own, [1, 2, 3, 4, 5, 6, 7, 8]);
            }
        }
        assert_eq!(pairs(4, 3), pairs(4, 3));
        assert!((0..20).any(|seed| pairs(2, seed)[0] != pairs(2, 0)[0]), "both orders occur");
    }
}
