//! The threads that drive the load, and how their number changes while it runs. Invariant: every open session is with
//! exactly one thread, or on its way to one; what was noted of the load before a change is kept.

use super::LoadError;
use super::deal::{Arrivals, deal};
use super::event_loop::{Ending, EventLoop, Session};
use super::lane::Lane;
use super::loop_choice::{LoopChoice, LoopKind};
use super::open_files;
use super::plan::Plan;
use super::record::Notes;
use super::shared::Shared;
use super::thread_id::thread_id;
use super::uring::{Ring, refusal};
use crate::clock::{Nanos, now};
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// One thread; it waits for the load's origin.
struct LoadThread {
    id: u32,
    start: mpsc::Sender<Nanos>,
    waker: mio::Waker,
    handle: JoinHandle<Ending>,
}

/// All of them.
pub struct LoadThreads {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    threads: Vec<LoadThread>,
    /// Through what the sessions are driven; `None`: by the rule.
    wish: Option<LoopKind>,
    /// Through what they are driven now, and why.
    choice: LoopChoice,
    /// What threads noted that have handed their sessions on.
    before: Vec<Notes>,
    /// `None`: the load has not begun.
    origin: Option<Nanos>,
}

impl LoadThreads {
    /// Deals sessions out, each with its job, among threads that wait for [`LoadThreads::start`].
    ///
    /// # Errors
    /// Too many open files or threads for this process.
    pub fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        sessions: Vec<(usize, Session)>,
        threads: usize,
        wish: Option<LoopKind>,
    ) -> Result<LoadThreads, LoadError> {
        let (choice, none) = (LoopChoice::epoll(None), Vec::new());
        let mut own = LoadThreads { plan, shared, threads: none, wish, choice, before: Vec::new(), origin: None };
        own.deal(sessions, &[], threads)?;
        Ok(own)
    }

    fn deal(&mut self, sessions: Vec<(usize, Session)>, lanes: &[Lane], threads: usize) -> Result<(), LoadError> {
        let threads = threads.clamp(1, self.shared.most_threads());
        self.shared.run_on(threads);
        let jobs: Vec<usize> = sessions.iter().map(|(job, _)| *job).collect();
        let of_job = |job: usize| Arrivals::left_by(lanes.iter().filter(|lane| lane.job == job));
        let left: BTreeMap<usize, Arrivals> = lanes.iter().map(|lane| (lane.job, of_job(lane.job))).collect();
        let mut sessions: Vec<Option<Session>> = sessions.into_iter().map(|(_, session)| Some(session)).collect();
        let mut hands = Vec::new();
        for hand in deal(&jobs, threads, &left) {
            let mut take = |(at, lane): (usize, usize)| Some((sessions[at].take()?, lane));
            hands.push((hand.connections.into_iter().filter_map(&mut take).collect::<Vec<_>>(), hand.lanes));
        }
        let rings = self.rings(hands.iter().map(|(own, _)| &own[..]));
        for (index, ((own, lanes), ring)) in hands.into_iter().zip(rings).enumerate() {
            let system = |what, remedy| move |cause| LoadError::System { what, cause, remedy };
            let event_loop = EventLoop::new(self.plan.clone(), self.shared.clone(), index, ring, own, lanes);
            let (event_loop, waker) = event_loop.map_err(system("an event loop", open_files::REMEDY))?;
            let spawned = spawn(index, event_loop, waker);
            self.threads.push(spawned.map_err(system("a load thread", "raise the limit of threads (ulimit -u)"))?);
        }
        Ok(())
    }

    /// A ring for the sessions of each thread, or none for any of them: all threads cost the same. Notes why.
    fn rings<'a>(&mut self, hands: impl Iterator<Item = &'a [(Session, usize)]> + Clone) -> Vec<Option<Ring>> {
        let fewest = hands.clone().map(<[_]>::len).min().unwrap_or_default();
        let encrypted = hands.clone().flatten().any(|(session, _)| session.is_encrypted());
        self.choice = LoopChoice::by_rule(self.wish, fewest, encrypted, self.plan.client_work > 0);
        if self.choice.through == LoopKind::IoUring {
            let sockets =
                |own: &[(Session, usize)]| own.iter().map(|(session, _)| session.socket()).collect::<Vec<_>>();
            let rings: std::io::Result<Vec<_>> = hands.clone().map(|own| Ring::new(&sockets(own)).map(Some)).collect();
            match rings {
                Ok(rings) => return rings,
                Err(error) => self.choice = LoopChoice::epoll(Some(format!("io_uring {}", refusal(&error)))),
            }
        }
        hands.map(|_| None).collect()
    }

    /// Begins the load.
    ///
    /// # Errors
    /// A thread that is gone.
    pub fn start(&mut self) -> Result<()> {
        let origin = *self.origin.get_or_insert_with(now);
        let gone = |_| anyhow!("a load thread has ended before the load; please report it");
        self.threads.iter().try_for_each(|thread| thread.start.send(origin).map_err(gone))
    }

    /// Goes on with another number of threads. Sessions move with all that they have under way.
    ///
    /// # Errors
    /// As [`LoadThreads::new`]; a thread that has panicked. The load has then ended.
    pub fn use_threads(&mut self, threads: usize) -> Result<()> {
        self.shared.part();
        let (mut sessions, mut lanes) = (Vec::new(), Vec::new());
        for ending in self.end()? {
            self.before.push(ending.notes);
            sessions.extend(ending.sessions);
            lanes.extend(ending.lanes);
        }
        // By jobs, so that each job's connections are dealt evenly too.
        sessions.sort_by_key(|(job, _)| *job);
        self.deal(sessions, &lanes, threads)?;
        self.origin.map_or(Ok(()), |_| self.start())
    }

    /// Ends the load and gives what was noted: by threads that ended before first, whose number comes with it.
    ///
    /// # Errors
    /// A thread that has panicked.
    pub fn stop(&mut self) -> Result<(Vec<Notes>, usize)> {
        self.shared.stop();
        // A load that has not begun says good-bye to the server too.
        if self.origin.is_none() {
            self.start()?;
        }
        let ended: Vec<Notes> = self.end()?.into_iter().map(|ending| ending.notes).collect();
        let mut notes = std::mem::take(&mut self.before);
        let before = notes.len();
        notes.extend(ended);
        Ok((notes, before))
    }

    fn end(&mut self) -> Result<Vec<Ending>> {
        let end = |thread: LoadThread| {
            // One that waits for the load's origin sees that there will be none.
            drop(thread.start);
            thread.waker.wake().context("wake a load thread")?;
            thread.handle.join().map_err(|_| anyhow!("a load thread panicked; please report it"))
        };
        std::mem::take(&mut self.threads).into_iter().map(end).collect()
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Through what they drive their sessions, and why.
    pub fn choice(&self) -> LoopChoice {
        self.choice.clone()
    }

    /// Their ids in the kernel.
    pub fn ids(&self) -> Vec<u32> {
        self.threads.iter().map(|thread| thread.id).collect()
    }
}

impl Drop for LoadThreads {
    /// A load that is dropped without `stop` (an error elsewhere) ends its threads and sessions too.
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // The notes are not wanted, and an error has been met already.
            let _ = self.stop();
        }
    }
}

fn spawn(index: usize, event_loop: EventLoop, waker: mio::Waker) -> std::io::Result<LoadThread> {
    let (start, origin) = mpsc::channel();
    let (tell, id) = mpsc::channel();
    let handle = thread::Builder::new().name(format!("wireprof-load-{index}")).spawn(move || {
        // The receiver waits right below; should it be gone, so is the load, and `recv` ends.
        let _ = tell.send(thread_id());
        match origin.recv() {
            Ok(origin) => event_loop.run(origin),
            Err(_) => event_loop.hand_back(),
        }
    })?;
    let id = id.recv().map_err(|_| std::io::Error::other("the thread ended at once"))?;
    Ok(LoadThread { id, start, waker, handle })
}
