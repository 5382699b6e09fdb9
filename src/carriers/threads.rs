//! The states of threads: they leave a CPU, are woken and get one. Invariant: a thread is running, runnable, blocked or
//! unseen, and every task that it polls is so with it.

use super::follow::Follower;
use super::model::State;
use super::timeline::{By, Ender, Entity, Standing, Ways};
use crate::clock::Nanos;

impl Follower<'_> {
    /// Something is missing between the thread's last certain state and now.
    fn doubt(&mut self, thread: Entity) {
        self.contradicts();
        let since = self.track(thread).timeline.sure();
        self.each_on(thread, |follower, entity| follower.track(entity).timeline.doubt(since));
    }

    /// The thread did something that only a running one can.
    pub(super) fn runs(&mut self, thread: Entity, at: Nanos) {
        self.track(thread).is_woken_early = false;
        match self.track(thread).timeline.state() {
            State::Running => return self.track(thread).timeline.confirm(at),
            State::Unseen => {}
            _ => self.doubt(thread),
        }
        self.set(thread, at, &Standing::of(State::Running), None);
    }

    pub(super) fn gets(&mut self, thread: Entity, at: Nanos) {
        let early = std::mem::take(&mut self.track(thread).is_woken_early);
        match self.track(thread).timeline.state() {
            State::Running => self.doubt(thread),
            State::Blocked if early => {
                self.each_on(thread, |follower, entity| follower.track(entity).timeline.was_runnable());
            }
            _ => {}
        }
        self.set(thread, at, &Standing::of(State::Running), None);
    }

    pub(super) fn leaves(&mut self, thread: Entity, at: Nanos, preempted: bool, stack: Option<u32>, wait_event: u32) {
        if !matches!(self.track(thread).timeline.state(), State::Running | State::Unseen) {
            self.doubt(thread);
        }
        let in_poll = !self.track(thread).polling.is_empty();
        let ways = Ways { stack, ..Ways::default() };
        let blocked = Standing { state: State::Blocked, ways, wait_event, behind: None, in_poll };
        let is = if preempted { Standing::of(State::Runnable) } else { blocked };
        self.set(thread, at, &is, None);
    }

    /// Who wakes; it can be a thread of another process, of which nothing else is known.
    pub(super) fn waker(&mut self, id: u32, at: Nanos) -> Entity {
        let thread = self.thread(id);
        if self.track(thread).timeline.state() != State::Unseen {
            self.runs(thread, at);
        }
        self.doer(thread)
    }

    /// Somebody wakes a thread, or an interrupt does. Only a blocked one changes: others were about to block. If one
    /// gets a CPU next and nobody has woken it since it left the last one, this was what ended that wait, between the
    /// thread's decision to wait and its leaving.
    pub(super) fn wakes(&mut self, at: Nanos, woken: u32, by: Option<Entity>, stack: Option<u32>) {
        let woken = self.thread(woken);
        let by = by.map_or(By::Interrupt, By::Entity);
        self.note_wake(woken, at, by);
        if self.track(woken).timeline.state() == State::Blocked {
            self.set(woken, at, &Standing::of(State::Runnable), Some(Ender { by, stack }));
        } else {
            self.track(woken).is_woken_early = true;
        }
    }
}
