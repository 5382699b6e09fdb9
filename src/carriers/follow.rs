//! From events to timelines: what every thread and every task did, who woke whom, and who read and sent on which
//! socket. Invariant: an event that contradicts those before makes the time in between unseen and is counted.

use super::model::{State, Who};
use super::sockets::Sockets;
use super::timeline::{By, Ender, Entity, Standing, Timeline, Ways};
use crate::clock::Nanos;
use crate::sample::{FollowedEvent, Happened, Socket, Task};
use rustc_hash::FxHashMap;

/// Polls within polls that are followed. Deeper ones are a poll whose end is missing: the outermost is given up.
const NESTED: usize = 8;
/// Outstanding answers that are kept for one thread or task: the latest.
const OUTSTANDING: usize = 8;

/// Something was sent, and no answer read yet: while the socket has had this many.
#[derive(Clone, Copy, Debug)]
struct Asked {
    socket: u32,
    answers: u32,
}

/// One thread or one task.
#[derive(Debug)]
pub(super) struct Track {
    /// Thread or which type of task.
    pub who: Who,
    pub timeline: Timeline,
    /// Who woke it and when, in order of time, interrupts left out.
    pub woken: Vec<(Nanos, Entity)>,
    /// A thread that has polled tasks.
    pub is_worker: bool,
    /// Of a thread: the tasks that it polls, the innermost last; itself in place of one that another thread polls
    /// already.
    pub(super) polling: Vec<Entity>,
    /// Of a task: the thread that polls it.
    pub(super) polled_on: Option<Entity>,
    /// Of a task: the stacks of the wakers that it registered in this poll.
    pub(super) registered: Vec<Option<u32>>,
    /// Of a task: those of its last wait.
    pub(super) ways: Ways,
    /// Of a task: the futures within it that wait with wakers of their own, and at which stacks; the latest last.
    pub(super) within: Vec<(u64, Option<u32>)>,
    /// Of a task: it was woken in this poll.
    pub(super) is_woken: bool,
    /// Of a thread: it was woken while it ran, and nothing of it was seen since but that it left its CPU.
    pub(super) is_woken_early: bool,
    asked: Vec<Asked>,
}

impl Track {
    /// A task, not a thread.
    pub(super) fn is_task(&self) -> bool {
        matches!(self.who, Who::Task { .. })
    }
}

/// A socket was read or sent on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub at: Nanos,
    pub socket: u32,
    pub by: Entity,
    pub sends: bool,
}

/// What became of the events.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub tracks: Vec<Track>,
    /// In order of time.
    pub touches: Vec<Touch>,
    pub contradictions: u64,
}

/// Follows events in order of time.
pub(super) struct Follower<'a> {
    pub(super) followed: Followed,
    sockets: &'a Sockets,
    /// Answers that each socket has had.
    answers: Vec<u32>,
    threads: FxHashMap<u32, Entity>,
    /// By process and address: the latest task that lies there.
    tasks: FxHashMap<(u32, u64), Entity>,
    /// By process and address of its waker: the task that a future is within.
    pub(super) within: FxHashMap<(u32, u64), Entity>,
    origin: Nanos,
}

/// Follows all events; timelines reach from `origin` to `end`.
pub(super) fn follow<'a>(
    events: impl Iterator<Item = &'a FollowedEvent>,
    sockets: &Sockets,
    origin: Nanos,
    end: Nanos,
) -> Followed {
    let mut follower = Follower {
        followed: Followed::default(),
        sockets,
        answers: vec![0; sockets.all.len()],
        threads: FxHashMap::default(),
        tasks: FxHashMap::default(),
        within: FxHashMap::default(),
        origin,
    };
    for event in events {
        follower.take(event);
    }
    for track in &mut follower.followed.tracks {
        track.timeline.close(end);
        // The target's threads are seen to get a CPU or to leave it; of others it is seen only whom they wake.
        if track.who == Who::Thread && !track.timeline.is_seen() {
            track.who = Who::Foreign;
        }
    }
    follower.followed
}

impl Follower<'_> {
    fn take(&mut self, event: &FollowedEvent) {
        let (at, process) = (event.at, event.process);
        if let Happened::Wakes { thread, stack, interrupt } = event.happened {
            let by = if interrupt { None } else { Some(self.waker(event.thread, at)) };
            return self.wakes(at, thread, by, stack);
        }
        let thread = self.thread(event.thread);
        match event.happened {
            Happened::Gets => return self.gets(thread, at),
            Happened::Leaves { preempted, stack, wait_event } => {
                return self.leaves(thread, at, preempted, stack, wait_event);
            }
            _ => self.runs(thread, at),
        }
        match event.happened {
            Happened::Reads(socket) => self.touches(thread, at, &socket, false),
            Happened::Sends(socket) => self.touches(thread, at, &socket, true),
            Happened::Polls(task) => {
                let task = self.task(process, task, at);
                self.polls(thread, task, at);
            }
            Happened::Polled => self.polled(thread, at),
            Happened::Registers(task, stack) => {
                let task = self.task(process, task, at);
                self.registers(thread, task, at, stack);
            }
            Happened::WakesTask(task, stack) => {
                let task = self.task(process, task, at);
                self.wakes_task(thread, task, at, stack);
            }
            Happened::RegistersWithin(future, stack) => self.registers_within(thread, (process, future), at, stack),
            Happened::WakesWithin(future) => self.wakes_within((process, future)),
            Happened::Gets | Happened::Leaves { .. } | Happened::Wakes { .. } => {}
        }
    }

    fn begin(&mut self, who: Who) -> Entity {
        self.followed.tracks.push(Track {
            who,
            timeline: Timeline::new(self.origin),
            woken: Vec::new(),
            is_worker: false,
            polling: Vec::new(),
            polled_on: None,
            registered: Vec::new(),
            ways: Ways::default(),
            within: Vec::new(),
            is_woken: false,
            is_woken_early: false,
            asked: Vec::new(),
        });
        self.followed.tracks.len() as Entity - 1
    }

    pub(super) fn track(&mut self, entity: Entity) -> &mut Track {
        &mut self.followed.tracks[entity as usize]
    }

    pub(super) fn thread(&mut self, id: u32) -> Entity {
        if let Some(known) = self.threads.get(&id) {
            return *known;
        }
        let entity = self.begin(Who::Thread);
        self.threads.insert(id, entity);
        entity
    }

    /// The task at this address. Another poll function means that it is a later task in the same memory.
    fn task(&mut self, process: u32, task: Task, at: Nanos) -> Entity {
        if let Some(known) = self.tasks.get(&(process, task.id)).copied() {
            let who = &mut self.track(known).who;
            match *who {
                Who::Task { poll } if task.poll == 0 || poll == task.poll => return known,
                Who::Task { poll: 0 } => {
                    *who = Who::Task { poll: task.poll };
                    return known;
                }
                _ => self.is_gone(known, at),
            }
        }
        let entity = self.begin(Who::Task { poll: task.poll });
        self.tasks.insert((process, task.id), entity);
        entity
    }

    /// The innermost task that the thread polls, else the thread.
    pub(super) fn doer(&self, thread: Entity) -> Entity {
        self.followed.tracks[thread as usize].polling.last().copied().unwrap_or(thread)
    }

    pub(super) fn contradicts(&mut self) {
        self.followed.contradictions += 1;
    }

    fn touches(&mut self, thread: Entity, at: Nanos, socket: &Socket, sends: bool) {
        let by = self.doer(thread);
        let Some(socket) = self.sockets.number(socket) else { return };
        self.followed.touches.push(Touch { at, socket, by, sends });
        if !self.sockets.all[socket as usize].is_outgoing {
            return;
        }
        if !sends {
            self.answers[socket as usize] += 1;
            return;
        }
        let asked = Asked { socket, answers: self.answers[socket as usize] };
        let mut all = std::mem::take(&mut self.track(by).asked);
        all.retain(|one| one.socket != socket && self.is_outstanding(*one));
        if all.len() == OUTSTANDING {
            all.remove(0);
        }
        all.push(asked);
        self.track(by).asked = all;
    }

    fn is_outstanding(&self, asked: Asked) -> bool {
        self.answers[asked.socket as usize] == asked.answers
    }

    /// The port of the answer that it waits for: the one that it asked for last.
    pub(super) fn behind(&self, entity: Entity) -> Option<u16> {
        let asked = &self.followed.tracks[entity as usize].asked;
        let last = asked.iter().rev().find(|asked| self.is_outstanding(**asked))?;
        Some(self.sockets.all[last.socket as usize].socket.other)
    }

    /// The thread changes its state, and with it that of every task that it polls.
    pub(super) fn set(&mut self, thread: Entity, at: Nanos, is: &Standing, ended_by: Option<Ender>) {
        self.each_on(thread, |follower, entity| {
            let mut is = is.clone();
            if is.state == State::Blocked {
                is.behind = follower.behind(entity);
            }
            follower.track(entity).timeline.change(at, is, ended_by);
        });
    }

    /// Calls for the thread and for every task that it polls.
    pub(super) fn each_on(&mut self, thread: Entity, mut call: impl FnMut(&mut Self, Entity)) {
        let polling = std::mem::take(&mut self.track(thread).polling);
        call(self, thread);
        for task in polling.iter().filter(|task| **task != thread) {
            call(self, *task);
        }
        self.track(thread).polling = polling;
    }

    /// Notes who woke somebody.
    pub(super) fn note_wake(&mut self, woken: Entity, at: Nanos, by: By) {
        if let By::Entity(by) = by {
            self.track(woken).woken.push((at, by));
        }
    }

    /// Room for another poll on this thread.
    pub(super) fn make_room(&mut self, thread: Entity, at: Nanos) {
        let polling = &self.track(thread).polling;
        if polling.len() < NESTED {
            return;
        }
        let outermost = polling[0];
        self.contradicts();
        self.track(thread).polling.remove(0);
        if outermost != thread {
            self.gives_up(outermost, at);
        }
    }
}
