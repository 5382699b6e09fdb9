//! Whatever the events are, sums hold and nothing panics.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

fn socket(random: &mut StdRng) -> Socket {
    match random.random_range(0..10) {
        0..5 => client(random.random_range(0..4)),
        5 => Socket { other: 45_000, ..client(random.random_range(0..4)) },
        _ => database(random.random_range(0..3)),
    }
}

fn happened(random: &mut StdRng) -> Happened {
    let stack = Some(random.random_range(0..20)).filter(|stack| *stack > 2);
    let of = Task { id: random.random_range(0..5), poll: random.random_range(0..3) };
    match random.random_range(0..12) {
        0 | 1 => Happened::Leaves { preempted: random.random(), stack, wait_event: random.random_range(0..2) },
        2 | 3 => Happened::Gets,
        4 => Happened::Wakes { thread: random.random_range(0..6), stack, interrupt: random.random() },
        5 | 6 => Happened::Reads(socket(random)),
        7 => Happened::Sends(socket(random)),
        8 => Happened::Polls(of),
        9 => Happened::Polled,
        10 => Happened::Registers(of, stack),
        _ => Happened::WakesTask(of, stack),
    }
}

/// Any events, in nearly any order.
fn noise(random: &mut StdRng) -> Story {
    let mut story = Story::default();
    let mut now = 1_000;
    for _ in 0..random.random_range(0..600) {
        now += random.random_range(0..20);
        let at = now - random.random_range(0..1_000) / 990 * 50;
        story.add(at, random.random_range(0..5), happened(random));
    }
    story
}

/// Events of a server that reads and sends anywhere, of which some are lost.
fn lossy(seed: u64, random: &mut StdRng) -> Story {
    let mut server = Server::new(seed);
    server.is_wild = true;
    (0..600).for_each(|_| server.step());
    let lost = [0.0, 0.01, 0.1, 0.5][random.random_range(0..4)];
    server.story.raw.events.retain(|_| !random.random_bool(lost));
    server.story
}

#[test]
fn whatever_the_events_are_the_sums_hold() {
    let mut met = [0; 7];
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let story = if seed % 2 == 0 { noise(&mut random) } else { lossy(seed, &mut random) };
        let start = random.random_range(900..2_000);
        let carried = story.carried(start, start + random.random_range(0..9_000));
        assert!(carried.unseen <= carried.nanos);
        let deep = carried.chains.nodes.iter().any(|node| node.children.iter().any(|child| !child.children.is_empty()));
        let Carried { answered, handed_over, loops, contradictions, disordered, .. } = carried;
        let turns = carried.turns.len() as u64;
        for (met, now) in met.iter_mut().zip([answered, handed_over, loops, contradictions, disordered, turns]) {
            *met += u64::from(now > 0);
        }
        met[6] += u64::from(deep);
    }
    assert!(met.iter().all(|met| *met > 20), "answers, hand-overs, loops and so on are in few recordings: {met:?}");
}

/// A server whose events are all there: three threads poll five tasks, each of which has one client. Its states are
/// counted ns by ns beside the events.
pub(super) struct Server {
    random: StdRng,
    pub(super) story: Story,
    pub(super) now: Nanos,
    threads: [State; 3],
    polling: [Option<usize>; 3],
    /// Waiting or queued, where it is not polled.
    tasks: [State; 5],
    is_woken: [bool; 5],
    in_hand: [bool; 5],
    expected: BTreeMap<State, u64>,
    /// It reads and sends on any socket, and the first thread polls nothing; nothing is expected of it then.
    is_wild: bool,
}

impl Server {
    pub(super) fn new(seed: u64) -> Server {
        let mut server = Server {
            random: StdRng::seed_from_u64(seed),
            story: Story::default(),
            now: 1_000,
            threads: [State::Running; 3],
            polling: [None; 3],
            tasks: [State::Waiting; 5],
            is_woken: [false; 5],
            in_hand: [false; 5],
            expected: BTreeMap::new(),
            is_wild: false,
        };
        for thread in 0..3 {
            server.story.gets(10, thread);
        }
        for task in 0..5 {
            server.story.polls(20 + task, 0, task).polled(20 + task, 0);
        }
        server
    }

    /// Time goes by.
    fn passes(&mut self) {
        let nanos = self.random.random_range(0..5);
        self.now += nanos;
        for task in (0..5).filter(|task| self.in_hand[*task]) {
            let polled_on = self.polling.iter().position(|polled| *polled == Some(task));
            let state = polled_on.map_or(self.tasks[task], |thread| self.threads[thread]);
            *self.expected.entry(state).or_default() += nanos;
        }
    }

    pub(super) fn step(&mut self) {
        self.passes();
        let (now, number) = (self.now, self.random.random_range(0..3));
        let thread = number as u32;
        match self.threads[number] {
            State::Running if self.random.random_range(0..4) > 0 => self.works(number),
            State::Running if self.random.random() => {
                self.story.blocks(now, thread, 7);
                self.threads[number] = State::Blocked;
            }
            State::Running => {
                self.story.is_preempted(now, thread);
                self.threads[number] = State::Runnable;
            }
            State::Blocked => {
                self.story.interrupt_wakes(now, thread);
                self.threads[number] = State::Runnable;
            }
            _ => {
                self.story.gets(now, thread);
                self.threads[number] = State::Running;
            }
        }
    }

    fn touches(&mut self, thread: u32) {
        let socket = socket(&mut self.random);
        let happened = if self.random.random() { Happened::Reads(socket) } else { Happened::Sends(socket) };
        self.story.add(self.now, thread, happened);
    }

    /// Something that only a running thread does.
    fn works(&mut self, number: usize) {
        let (now, thread, other) = (self.now, number as u32, self.random.random_range(0..5));
        let Some(polled) = self.polling[number] else {
            if self.is_wild && number == 0 {
                self.touches(thread);
            } else if !self.polling.contains(&Some(other)) {
                self.story.polls(now, thread, other as u64);
                (self.polling[number], self.is_woken[other]) = (Some(other), false);
            }
            return;
        };
        match self.random.random_range(0..4) {
            0 => {
                self.story.polled(now, thread);
                self.polling[number] = None;
                self.tasks[polled] = if self.is_woken[polled] { State::Queued } else { State::Waiting };
            }
            1 => {
                self.story.wakes_task(now, thread, other as u64, 8);
                (self.tasks[other], self.is_woken[other]) = (State::Queued, true);
            }
            _ if self.is_wild => self.touches(thread),
            _ if self.in_hand[polled] => {
                self.story.sends(now, thread, client(polled as u16));
                self.in_hand[polled] = false;
            }
            _ => {
                self.story.reads(now, thread, client(polled as u16));
                self.in_hand[polled] = true;
            }
        }
    }
}

#[test]
fn where_no_event_is_missing_the_states_are_those_of_the_server() {
    for seed in 0..100 {
        let mut server = Server::new(seed);
        (0..500).for_each(|_| server.step());
        let carried = server.story.carried(0, server.now);
        let mut found: BTreeMap<State, u64> = BTreeMap::new();
        for (key, sum) in &carried.rows {
            *found.entry(key.state).or_default() += sum.nanos;
        }
        server.expected.retain(|_, nanos| *nanos > 0);
        assert_eq!(found, server.expected, "seed {seed}");
        assert_eq!((carried.contradictions, carried.disordered, carried.handed_over), (0, 0, 0));
    }
}
