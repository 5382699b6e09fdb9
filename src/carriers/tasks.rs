//! The states of tasks: they are polled, register wakers, and are woken. Invariant: a task is polled by one thread at
//! most, and has that thread's state meanwhile; a task whose polls are not seen stays unseen.

use super::follow::Follower;
use super::model::State;
use super::timeline::{By, Ender, Entity, Standing, Ways};
use crate::clock::Nanos;
use rustc_hash::FxHashSet;

/// Futures within one task that are known to wait.
const WITHIN: usize = 64;

impl Follower<'_> {
    pub(super) fn polls(&mut self, thread: Entity, task: Entity, at: Nanos) {
        if let Some(other) = self.track(task).polled_on
            && !self.is_passed_on(task, other, thread)
        {
            self.contradicts();
            self.leaves_poll(task, at);
        }
        self.make_room(thread, at);
        let threads = self.track(thread);
        threads.is_worker = true;
        threads.polling.push(task);
        let polled = self.track(task);
        polled.polled_on = Some(thread);
        polled.registered.clear();
        polled.is_woken = false;
        polled.timeline.change(at, Standing::of(State::Running), None);
    }

    pub(super) fn polled(&mut self, thread: Entity, at: Nanos) {
        let Some(task) = self.track(thread).polling.pop() else {
            // A poll that was under way when the recording began tells nothing.
            if self.track(thread).is_worker {
                self.contradicts();
            }
            return;
        };
        if task == thread {
            return;
        }
        let behind = self.behind(task);
        let polled = self.track(task);
        polled.polled_on = None;
        let mut registered = std::mem::take(&mut polled.registered);
        // What waits within it tells more than that it waits for one of them.
        registered.extend(polled.within.iter().map(|(_, stack)| *stack));
        if let Some((stack, earlier)) = registered.split_last() {
            polled.ways = ways(*stack, earlier);
        }
        let waiting = Standing { ways: polled.ways.clone(), behind, ..Standing::of(State::Waiting) };
        let is = if polled.is_woken { queued(&polled.ways) } else { waiting };
        polled.timeline.change(at, is, None);
    }

    /// A task registers a waker in its own poll. In other tasks' polls wakers are handed on: nobody waits for them.
    pub(super) fn registers(&mut self, thread: Entity, task: Entity, at: Nanos, stack: Option<u32>) {
        let polled = self.track(task);
        if polled.polled_on == Some(thread) {
            polled.registered.push(stack);
            polled.timeline.confirm(at);
        }
    }

    pub(super) fn wakes_task(&mut self, thread: Entity, task: Entity, at: Nanos, stack: Option<u32>) {
        let by = By::Entity(self.doer(thread));
        self.note_wake(task, at, by);
        let woken = self.track(task);
        if woken.polled_on.is_some() {
            woken.is_woken = true;
        } else if woken.timeline.state() == State::Waiting {
            let is = queued(&woken.ways);
            woken.timeline.change(at, is, Some(Ender { by, stack }));
        }
    }

    /// A future within the task that is polled is about to wait, with a waker of its own.
    pub(super) fn registers_within(&mut self, thread: Entity, future: (u32, u64), at: Nanos, stack: Option<u32>) {
        let task = self.doer(thread);
        self.wakes_within(future);
        let polled = self.track(task);
        if !polled.is_task() {
            return;
        }
        polled.timeline.confirm(at);
        // Those that were dropped while they waited are not seen to go: the oldest make room.
        if polled.within.len() == WITHIN {
            polled.within.remove(0);
        }
        polled.within.push((future.1, stack));
        self.within.insert(future, task);
    }

    /// A future within a task waits no longer.
    pub(super) fn wakes_within(&mut self, future: (u32, u64)) {
        if let Some(task) = self.within.remove(&future) {
            self.track(task).within.retain(|(waiting, _)| *waiting != future.1);
        }
    }

    /// A task that is woken in its poll is scheduled again at the end of that, and another thread can poll it before
    /// the first one has returned. In its place stands that thread, which does no more than return.
    fn is_passed_on(&mut self, task: Entity, from: Entity, to: Entity) -> bool {
        let left = &self.followed.tracks[from as usize];
        let returns = left.polling.last() == Some(&task) && left.timeline.state() != State::Blocked;
        if from == to || !returns || !self.followed.tracks[task as usize].is_woken {
            return false;
        }
        if let Some(innermost) = self.track(from).polling.last_mut() {
            *innermost = from;
        }
        true
    }

    /// The end of the task's poll was missed, and that of every poll within it.
    fn leaves_poll(&mut self, task: Entity, at: Nanos) {
        let Some(thread) = self.track(task).polled_on else { return };
        let polling = &mut self.track(thread).polling;
        let ended = polling.iter().position(|one| *one == task).map(|first| polling.split_off(first));
        for task in ended.unwrap_or_default().into_iter().filter(|task| *task != thread) {
            self.gives_up(task, at);
        }
    }

    /// The end of this task's poll was missed: what it did after its last certain state is not known.
    pub(super) fn gives_up(&mut self, task: Entity, at: Nanos) {
        let lost = self.track(task);
        lost.polled_on = None;
        lost.registered.clear();
        let since = lost.timeline.sure().min(at);
        lost.timeline.doubt(since);
    }

    /// Another task lies where this one lay.
    pub(super) fn is_gone(&mut self, task: Entity, at: Nanos) {
        if self.track(task).polled_on.is_some() {
            self.contradicts();
            self.leaves_poll(task, at);
        }
        let gone = &mut self.track(task).timeline;
        if gone.state() != State::Unseen {
            gone.change(at, Standing::of(State::Unseen), None);
        }
    }
}

/// Ready to go on where it waited.
fn queued(ways: &Ways) -> Standing {
    let ways = Ways { stack: ways.stack, others: Box::default() };
    Standing { ways, ..Standing::of(State::Queued) }
}

/// The last stack, and of the earlier ones each that is another one once.
fn ways(stack: Option<u32>, earlier: &[Option<u32>]) -> Ways {
    let mut seen: FxHashSet<u32> = stack.into_iter().collect();
    let others = earlier.iter().flatten().copied().filter(|other| seen.insert(*other)).collect();
    Ways { stack, others }
}
