//! Sessions that run pgbench scripts: from one statement to the next, through sleeps and failures. Invariant: plain
//! queries pass none of this; a transaction is noted once, when its script has been run or has failed.

use super::{EventLoop, failed, work};
use crate::clock::{Nanos, now};
use crate::load::lane::Next;
use crate::load::record::{Outcome, Record};
use crate::load::transaction::Step;
use std::cmp::Reverse;

/// ReadyForQuery's status outside a transaction.
const IDLE: u8 = b'I';

impl EventLoop {
    /// Begins a transaction on a session.
    pub(super) fn begin_transaction(&mut self, index: usize, at: Nanos) {
        let session = &mut self.sessions[index];
        let job = &self.plan.jobs[self.lanes[session.lane].job];
        if let (Some(mix), Some(client)) = (&job.mix, &mut session.client) {
            client.begin(mix, at);
        }
        self.go_on(index);
    }

    /// Runs the script up to its next statement, its next sleep, or its end.
    fn go_on(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let job = self.lanes[session.lane].job;
        let (Some(mix), Some(client)) = (&self.plan.jobs[job].mix, &mut session.client) else { return };
        match client.advance(mix) {
            Ok(Step::Send) => {
                session.keeping = client.keeps();
                self.send(index, None);
            }
            Ok(Step::Sleep(nanos)) => self.sleepers.push(Reverse((now() + nanos, index))),
            Ok(Step::Done) if session.status != IDLE => {
                let name = &mix.script(client.script()).name;
                let why = format!("{name} ends inside a transaction; end it in the script (`end;`)");
                self.fail(index, why);
            }
            Ok(Step::Done) => self.end_transaction(index, true),
            Err(why) => self.fail(index, why),
        }
    }

    /// Lets the sessions go on whose sleep is over.
    #[cold]
    pub(super) fn wake_sleepers(&mut self) {
        if self.shared.stopping() {
            // Nobody waits for the end of a sleep: those transactions end with their sessions.
            for Reverse((_, index)) in std::mem::take(&mut self.sleepers) {
                self.rest(index);
            }
            return;
        }
        let at = now();
        while let Some(&Reverse((due, index))) = self.sleepers.peek() {
            if due > at {
                return;
            }
            self.sleepers.pop();
            if !self.sessions[index].open {
                continue;
            }
            match self.sessions[index].client.as_ref().is_some_and(|client| client.waits) {
                true => self.begin_transaction(index, at),
                false => self.go_on(index),
            }
        }
    }

    /// As `finished` does for plain queries: an answer is complete.
    pub(super) fn finished_in_script(&mut self, index: usize, end: Nanos) {
        let session = &mut self.sessions[index];
        let job = &self.plan.jobs[self.lanes[session.lane].job];
        let (Some(mix), Some(client)) = (&job.mix, &mut session.client) else { return };
        session.status = session.answer.status;
        let rows = std::mem::take(&mut session.answer.rows);
        if client.rolls_back {
            // The driver's own statement is no query of the workload.
            session.answer.error = None;
            return self.end_transaction(index, false);
        }
        let outcome = if session.answer.error.is_some() {
            self.errors += 1;
            client.failed();
            failed(&mut self.notes, &mut session.answer)
        } else {
            self.completed += 1;
            Outcome::Rows(rows)
        };
        let latency = end.saturating_sub(session.begun);
        let delay = end.saturating_sub(self.woke) + session.held;
        self.shared.took(self.index, latency);
        self.notes.record(Record::new(end, latency, client.script() as u16, delay, outcome));
        session.keeping = false;
        if self.plan.client_work > 0 {
            work(self.plan.client_work);
        }
        match outcome {
            Outcome::Error(_) if session.status == IDLE => self.end_transaction(index, false),
            Outcome::Error(_) => {
                client.roll_back();
                self.send(index, None);
            }
            Outcome::Rows(_) | Outcome::WrongRows(_) => match client.answered(mix) {
                Ok(()) => self.go_on(index),
                Err(why) => self.fail(index, why),
            },
        }
    }

    /// Notes a transaction, and begins the session's next one.
    fn end_transaction(&mut self, index: usize, whole: bool) {
        let end = now();
        let session = &mut self.sessions[index];
        let lane = &mut self.lanes[session.lane];
        let Some(client) = &mut session.client else { return };
        let outcome = if whole { Outcome::Rows(0) } else { Outcome::Error(0) };
        let latency = end.saturating_sub(client.begun);
        self.notes.transactions.push(Record::new(end, latency, client.script() as u16, 0, outcome));
        match lane.next(&self.plan.jobs[lane.job], self.origin, end) {
            // A script that sent nothing must not keep the thread from the other sessions.
            Next::Begin { .. } if !client.has_sent => {
                client.waits = true;
                self.sleepers.push(Reverse((end, index)));
            }
            Next::Begin { .. } => self.begin_transaction(index, end),
            Next::Wait(_) | Next::Ended => {
                self.rest(index);
                self.lanes[self.sessions[index].lane].idle.push(index);
            }
        }
    }

    /// The session has nothing under way any more.
    fn rest(&mut self, index: usize) {
        if std::mem::take(&mut self.sessions[index].busy) {
            self.busy -= 1;
        }
    }

    /// The script cannot be followed: the load ends with the reason.
    #[cold]
    fn fail(&mut self, index: usize, why: String) {
        self.shared.fail(why);
        self.rest(index);
    }
}
