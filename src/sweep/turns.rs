//! Turns: a target is started or brought into its state, its windows are taken, and it is ended or put back; one turn
//! for a sweep, several of one arm or more where replicates begin anew. Invariant: whatever ends a turn, nothing of it
//! is left on the target when the next one begins but what the preset set, and that is put back at the end unless all
//! went well and it may stay.

use super::across::{AlsoHost, end_all, prepare_across};
use super::load_threads::ThreadBook;
use super::plan::letter;
use super::precision::PrecisionBook;
use super::sampling_rate::RateBook;
use super::window_loop::WindowLoop;
use super::{
    Event, Launch, Launched, LoadHosts, Prepared, PresetState, Request, Sources, Stop, Turn, letters, note, prepare,
    with_ends,
};
use crate::run::{COMPLETE, Look, Manifest, Reserved, RunWriter, Side, Store, run_id};
use anyhow::{Error, Result, bail};
use std::path::PathBuf;

/// What is measured by turns: how it is asked for, what is started for it.
pub struct Arm {
    /// How the arm is measured.
    pub request: Request,
    /// What is started before each of its turns.
    pub launch: Launch,
    /// `None` for an arm by itself.
    pub side: Option<SideSpec>,
}

/// A side as the user asked for it.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// As the user calls it.
    pub name: String,
    /// What is set for this side only.
    pub setup: Vec<String>,
    /// The ladder that this is a rung of; `None`: a side of a comparison.
    pub ladder: Option<String>,
}

/// Arms under way, each a run on disk. They end with [`Turns::end`] or [`Turns::take_all`], which put the servers back.
pub struct Turns<'a> {
    store: &'a Store,
    stop: &'a Stop,
    arms: Vec<Running>,
    turns: Vec<Turn>,
    /// Put back at the end what presets changed, though all went well.
    restore: bool,
    /// What presets changed on servers that run on.
    changed: Vec<PresetState>,
    /// The numbers of load threads that were found: one of each level for all arms.
    threads: ThreadBook,
    /// The rate of samples that was settled: one for all arms.
    rate: RateBook,
    /// How precisely the only arm's levels are known, where that was asked for.
    precision: PrecisionBook,
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
    /// The run's directory.
    pub directory: PathBuf,
    /// The manifest as it was written last.
    pub manifest: Manifest,
    /// Windows on disk.
    pub finished: usize,
}

/// How all of it ended.
pub struct SweepEnd {
    /// The arms' runs; none where it was refused before any was begun.
    pub runs: Vec<Ended>,
    /// Why it ended before it was done.
    pub cut: Option<Error>,
    /// All windows were taken, and what cut it short came after them.
    pub whole: bool,
}

impl SweepEnd {
    /// Windows of all runs on disk.
    pub fn finished(&self) -> usize {
        self.runs.iter().map(|ended| ended.finished).sum()
    }
}

impl<'a> Turns<'a> {
    /// One arm, or several by `turns`.
    pub fn new(store: &'a Store, stop: &'a Stop, arms: Vec<Arm>, turns: Vec<Turn>, restore: bool) -> Self {
        let running = |arm: Arm| Running { arm, reserved: None, id: None, writer: None, finished: 0, build: None };
        let arms = arms.into_iter().map(running).collect();
        Turns {
            store,
            stop,
            arms,
            turns,
            restore,
            changed: Vec::new(),
            threads: ThreadBook::default(),
            rate: RateBook::default(),
            precision: PrecisionBook::default(),
        }
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
    pub fn truncate(&mut self, turns: usize) {
        self.turns.truncate(turns);
    }

    /// Where an arm's run lies; `None` before its first turn.
    pub fn directory(&self, arm: usize) -> Option<String> {
        self.arms[arm].writer.as_ref().map(|writer| writer.directory().display().to_string())
    }

    /// Takes all turns, up to the first that fails, and ends.
    pub async fn take_all(mut self, tell: &mut (dyn FnMut(Event) + Send)) -> SweepEnd {
        let mut taken = 0;
        let cut = loop {
            let Some(turn) = self.turns.get(taken).copied() else { break None };
            let ended = match self.take(turn, tell).await {
                Ok(()) => self.plan_further(taken + 1, tell),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                break Some(error);
            }
            taken += 1;
        };
        self.end(cut, tell).await
    }

    /// After the last turn of an arm by itself whose replicates are turns: one more where it is not known precisely
    /// enough.
    fn plan_further(&mut self, taken: usize, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        let ([running], Some(Turn { replicate: Some(_), .. })) = (&mut self.arms[..], self.turns.last()) else {
            return Ok(());
        };
        let Some(writer) = running.writer.as_mut().filter(|_| taken == self.turns.len()) else { return Ok(()) };
        let Some(further) = self.precision.further(&writer.manifest) else { return Ok(()) };
        writer.plan_further(&further.windows)?;
        self.turns.push(Turn { arm: 0, replicate: further.windows.first().map(|id| id.replicate) });
        further.tell(tell);
        Ok(())
    }

    /// Takes one turn: its windows, between what starts its target and what ends it.
    ///
    /// # Errors
    /// What ended it early; the target is ended, or put back but for the preset's set-up, which [`Turns::end`] does.
    pub async fn take(&mut self, turn: Turn, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        self.stop.check()?;
        self.reserve()?;
        let arm = &self.arms[turn.arm].arm;
        if let Some(replicate) = turn.replicate {
            let of = self.turns.len() / self.arms.len();
            let whose = arm.side.as_ref().map_or(String::new(), |side| format!(" of {}", side.name));
            tell(Event::Preparing(&format!("replicate {replicate} of {of}{whose}")));
        } else if matches!(arm.launch, Launch::Testbed(_)) {
            tell(Event::Preparing("starting the testbed and its PostgreSQL"));
        }
        let mut request = arm.request.clone();
        let launched = tokio::task::block_in_place(|| arm.launch.start(&mut request, self.stop))?;
        let measured = self.measure(turn, request, tell).await;
        if !matches!(launched, Launched::Nothing) {
            tokio::task::block_in_place(|| drop(launched));
        }
        measured
    }

    /// Sets up, takes the windows, and puts back whatever became of them.
    async fn measure(&mut self, turn: Turn, request: Request, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        // Before the server is changed: what another host refuses leaves it as it is.
        let hosts = tokio::task::block_in_place(|| LoadHosts::open(&request, self.stop, tell))?;
        let (also, noted) = match tokio::task::block_in_place(|| AlsoHost::open_all(&request, self.stop, tell)) {
            Ok(opened) => opened,
            Err(error) => return Err(with_ends(error, end_hosts(hosts, Vec::new()))),
        };
        let prepared = match request.target.across.clone() {
            Some(across) => prepare_across(request.clone(), &across, self.stop, tell).await,
            None => prepare(request.clone(), self.stop).await,
        };
        let Prepared { mut sources, mut manifest, state } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(with_ends(error, end_hosts(hosts, also))),
        };
        if let Some(hosts) = hosts {
            hosts.drive(&request, &mut sources, &mut manifest);
        }
        sources.also = also;
        noted.into_iter().for_each(|text| note(&mut manifest.notes, text));
        for change in &manifest.changes {
            tell(Event::Noted(&format!("set up: {change}")));
        }
        let windows = self.windows(turn, &mut sources, manifest, tell).await;
        let dropped = match sources.freshness.take() {
            Some(probe) => probe.close().await,
            None => Ok(()),
        };
        let hosts = sources.load_hosts.take();
        let hosts = tokio::task::block_in_place(|| end_load_hosts(hosts));
        let there = match sources.there.take() {
            Some(there) => tokio::task::block_in_place(|| there.end(self.restore || windows.is_err(), tell)),
            None => Ok(()),
        };
        let also = tokio::task::block_in_place(|| end_all(std::mem::take(&mut sources.also)));
        drop(sources);
        let (preset, ended) = state.end().await;
        // A server that runs on keeps what the preset set until the end. One that a command of the user's starts may
        // keep it on its disk, so it is put back before that ends; the testbed's disk goes with it.
        let back = match (&self.arms[turn.arm].arm.launch, preset) {
            (Launch::Command { .. }, Some(preset)) => put_back(preset, tell).await,
            (Launch::Nothing, preset) => {
                self.changed.extend(preset);
                Ok(())
            }
            (Launch::Testbed(_) | Launch::Command { .. }, _) => Ok(()),
        };
        first_error([windows, dropped, hosts, there, also, ended, back], tell)
    }

    async fn windows(
        &mut self,
        turn: Turn,
        sources: &mut Sources,
        manifest: Manifest,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<()> {
        let side = self.side(turn.arm);
        let Running { arm, writer, finished, .. } = self.arms[turn.arm].begin(turn, self.store, manifest, side)?;
        let Some(writer) = writer else { return Ok(()) };
        let (request, threads, rate, precision) =
            (&arm.request, &mut self.threads, &mut self.rate, &mut self.precision);
        let windows =
            WindowLoop { writer, request, sources, threads, rate, precision, stop: self.stop, tell, finished };
        windows.take(turn, self.store).await
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
            if let Some(side) = &mut writer.manifest.side {
                side.look = Some(look);
            }
            writer.write_manifest()?;
        }
        Ok(())
    }

    /// Ends all runs: complete, though perhaps with fewer replicates than were planned, or cut short by `cut`; and puts
    /// back what presets changed, where that is asked for or something went wrong.
    pub async fn end(mut self, cut: Option<Error>, tell: &mut (dyn FnMut(Event) + Send)) -> SweepEnd {
        let mut after = None;
        if self.restore || cut.is_some() {
            while let Some(preset) = self.changed.pop() {
                let back = put_back(preset, tell).await;
                after = after.or(back.err());
            }
        }
        let whole = cut.is_none() || self.arms.iter().all(Running::is_whole);
        let mut runs = Vec::new();
        for running in self.arms {
            // The windows are safe by now: a full disk here must not hide what cut the runs short.
            let (ended, failed) = running.end(cut.as_ref());
            runs.extend(ended);
            after = after.or(failed);
        }
        if let (Some(_), Some(after)) = (&cut, &after) {
            tell(Event::Noted(&format!("{after:#}")));
        }
        SweepEnd { runs, cut: cut.or(after), whole }
    }
}

fn end_load_hosts(hosts: Option<LoadHosts>) -> Result<()> {
    hosts.map_or(Ok(()), LoadHosts::end)
}

/// Ends what runs on other hosts.
fn end_hosts(hosts: Option<LoadHosts>, also: Vec<AlsoHost>) -> [Result<()>; 2] {
    tokio::task::block_in_place(|| [end_load_hosts(hosts), end_all(also)])
}

/// Puts back what a preset changed, and tells what was done.
async fn put_back(preset: PresetState, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
    for statement in preset.put_back().await? {
        tell(Event::Noted(&format!("put back: {statement}")));
    }
    Ok(())
}

/// The first error, which is the cause of what follows from it. The others are told: what ended the windows must not
/// hide what could not be put back.
fn first_error<const N: usize>(ended: [Result<()>; N], tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
    let mut errors = ended.into_iter().filter_map(Result::err);
    let first = errors.next().map_or(Ok(()), Err);
    errors.for_each(|error| tell(Event::Noted(&format!("{error:#}"))));
    first
}

impl Running {
    /// Creates the run at the first turn; later ones tell their own target and what was noted of it.
    fn begin(&mut self, turn: Turn, store: &Store, mut manifest: Manifest, side: Option<Side>) -> Result<&mut Running> {
        let build = self.build.get_or_insert_with(|| manifest.target.build_id.clone());
        if *build != manifest.target.build_id {
            let none = || "unknown".to_string();
            bail!(
                "the server's build has changed between two replicates, from {} to {}: leave its executable alone \
                    while it \
                 is measured, and begin again",
                build.clone().unwrap_or_else(none),
                manifest.target.build_id.clone().unwrap_or_else(none)
            );
        }
        let Some(writer) = &mut self.writer else {
            manifest.restarted = self.arm.launch.restarts() && turn.replicate.is_some();
            manifest.side = side;
            let reserved = match self.reserved.take() {
                Some(reserved) => reserved,
                None => store.reserve(&manifest.id)?,
            };
            self.id = Some(reserved.id().to_string());
            self.writer = Some(reserved.begin(manifest)?);
            return Ok(self);
        };
        writer.manifest.target = manifest.target;
        for text in manifest.notes {
            note(&mut writer.manifest.notes, text);
        }
        writer.write_manifest()?;
        Ok(self)
    }

    /// Whether all its windows are on disk.
    fn is_whole(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| self.finished == writer.manifest.order.len())
    }

    /// Writes how the run ended: the run, and why that could not be written.
    fn end(self, cut: Option<&Error>) -> (Option<Ended>, Option<Error>) {
        let whole = self.is_whole();
        let Running { writer, finished, .. } = self;
        let Some(mut writer) = writer else { return (None, None) };
        let planned = writer.manifest.order.len();
        let text = match cut.filter(|_| !whole) {
            Some(error) => format!("cut short after {finished} of {planned} windows: {error:#}"),
            None => {
                if finished < planned {
                    writer.manifest.order.truncate(finished);
                    writer.manifest.replicates = finished / writer.manifest.levels.len().max(1);
                }
                COMPLETE.into()
            }
        };
        let failed = writer.finish(&text).err();
        let directory = writer.directory().to_path_buf();
        (Some(Ended { directory, manifest: writer.manifest, finished }), failed)
    }
}
