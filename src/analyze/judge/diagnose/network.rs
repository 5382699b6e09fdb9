//! From what is known of a level to its queueing network. Invariant: nothing that is measured otherwise is left for the
//! latency to tell, for near saturation that does not tell a delay from a queue.

use super::accounting::Cpu;
use super::facts::Facts;
use super::model::{HeldResource, LowerLevel, Network, ResourceKind};
use std::collections::BTreeMap;

/// Of the time of the threads that handle queries, from which on these queue for them.
const ALL_HELD: f64 = 0.9;
/// Of the latency, from which on what carriers wait for outside tells how much of it the CPUs can be.
const MATTERS: f64 = 0.1;

impl<'a> Facts<'a> {
    /// The queueing network of this level; `None` without scheduler statistics of the machine.
    pub fn network(&self, levels: &BTreeMap<usize, Facts<'a>>) -> Option<Network> {
        let (cpu, (_, lowest)) = (self.cpu?, levels.first_key_value()?);
        let thread = self.queued_for().map(|t| (ResourceKind::Thread, t.demand.max(self.on_one_thread()), 1.0));
        let workers = self.workers.map(|w| (ResourceKind::Workers, w.on_cpu + w.blocked(), w.count));
        // Fewer threads than clients: a query may wait for one of them.
        let few = self.blocked.as_ref().filter(|b| b.threads > 1.0 && b.threads < self.under_way);
        let workers = workers.or(few.map(|b| (ResourceKind::Workers, b.held, b.threads)));
        let generator = self.generator.map(|g| (ResourceKind::Generator, g.demand, g.threads));
        let for_server = cpu.for_server.map(|few| (ResourceKind::ServersCpus, cpu.server, few.cpus));
        let held = [thread, workers, generator, for_server].into_iter().flatten();
        let left = (cpu.cpus - cpu.taken.unwrap_or(cpu.stolen)).max(0.1);
        let network = Network {
            clients: self.under_way,
            think: self.think.unwrap_or(0.0),
            latency: self.latency,
            cpu: cpu.demand,
            cpus: left,
            others: None,
            held: held.map(|(what, demand, servers)| HeldResource { what, demand, servers }).collect(),
            most_delay: self.most_delay(lowest),
            lower: self.lower(levels).and_then(|facts| {
                Some(LowerLevel { throughput: facts.throughput / self.throughput, cpu: facts.cpu?.demand })
            }),
        };
        // CPUs that would be idle may be taken by others without being in the way: a thread that is woken gets its
        // CPU from one that never sleeps. Up to as many clients as CPUs there are no queues but those of threads,
        // which are measured; beyond, others are in the way as far as the threads of the measurement want all CPUs.
        // Where the threads' waits were followed, what they do not wait for is known to be spent on the CPUs and in
        // the queue for them, with any number of clients; and others give way to threads that wait no longer.
        // And where carriers were followed, what they wait for outside is known not to be spent on the CPUs; no more is
        // what is on the network between two hosts.
        let followed = self.waited > 0.0 && self.workers.is_none();
        let least = cpu.cpus - (cpu.cpus - left) * self.wanted();
        let outside = self.outside_in_hand() + self.between_hosts().unwrap_or(0.0);
        let residence = cpu.demand + cpu.runnable;
        Some(match self.under_way <= cpu.cpus {
            true => Network { cpus: cpu.cpus, ..network }.contended(left, residence),
            false if followed => Network { cpus: cpu.cpus, ..network }.contended(left, residence).sharing(cpu.cpus),
            false if outside >= MATTERS * self.latency => {
                let awake = (self.latency - outside).max(cpu.demand);
                Network { cpus: cpu.cpus, ..network }.contended(least, awake).sharing(cpu.cpus)
            }
            false => Network { cpus: least, ..network },
        })
    }

    /// ns a query that the only thread that handles queries is on a CPU, or blocked and not idle; 0 where there are
    /// several, or as many as clients.
    pub(super) fn on_one_thread(&self) -> f64 {
        let blocked = self.blocked.as_ref().filter(|b| self.workers.is_none() && b.threads == 1.0);
        blocked.filter(|_| self.under_way > 1.0).map_or(0.0, |blocked| blocked.held)
    }

    /// Threads of the measurement on a CPU or waiting for one, on average, for each CPU; 1 at most. The server's want
    /// no more CPUs than it may use.
    fn wanted(&self) -> f64 {
        let at_once = |nanos: f64| nanos * self.throughput / 1e9;
        let threads = |cpu: Cpu| (at_once(cpu.demand + cpu.runnable) - cpu.beyond(self.throughput)).max(0.0) / cpu.cpus;
        self.cpu.map_or(1.0, threads).min(1.0)
    }

    /// Share of the runtime's workers that a task holds, 0..1; `None` where that is not measured.
    fn workers_held(&self) -> Option<f64> {
        let workers = self.workers?;
        let held = workers.on_cpu + workers.runnable + workers.blocked();
        Some((held * self.throughput / 1e9 / workers.count).min(1.0))
    }

    /// Share of the CPUs, or of the workers, that is wanted or held.
    fn held_or_wanted(&self) -> f64 {
        self.workers_held().map_or(self.wanted(), |held| held.max(self.wanted()))
    }

    /// What can be a delay at most, ns, by the lowest level and by the server's threads. `None` where neither tells.
    fn most_delay(&self, lowest: &Facts) -> Option<f64> {
        let bounds = [self.delay_by_lowest(lowest), self.delay_by_threads()];
        bounds.into_iter().flatten().reduce(f64::min)
    }

    /// What the delay is where no queries queue, and what the wait for the round trip behind has grown by since, as
    /// far as that is no wait for a CPU or for a worker that another task holds. Near saturation the latency alone
    /// does not tell delays from queues. `None` where this is the lowest level.
    fn delay_by_lowest(&self, lowest: &Facts) -> Option<f64> {
        let cpu = lowest.cpu.filter(|cpu| lowest.under_way <= cpu.cpus && lowest.level < self.level)?;
        let wait = |facts: &Facts| Some(facts.behind.as_ref()?.wait.as_ref()?.0);
        let queued = self.held_or_wanted();
        let trip = wait(self).zip(wait(lowest)).map_or(0.0, |(here, there)| (here - there).max(0.0)) * (1.0 - queued);
        // What carriers wait for tells of the same, and of all other waits.
        let in_hand = || self.delays_in_hand(queued) - lowest.delays_in_hand(lowest.held_or_wanted());
        let both = self.hands.is_some() && lowest.hands.is_some();
        let grown = if both { in_hand().max(trip) } else { trip };
        // Waits that were seen by their stacks are delays, however they came to be; those of a runtime's workers hold
        // these, and count there.
        let seen = if self.workers.is_none() { (self.waited - lowest.waited).max(0.0) } else { 0.0 };
        let between = |facts: &Facts| facts.between_hosts().unwrap_or(0.0);
        let on_network = (between(self) - between(lowest)).max(0.0);
        Some((lowest.latency - cpu.demand).max(0.0) + grown + seen + on_network)
    }

    /// Where the threads that handle queries are fewer than the clients and have hardly a moment to spare, queries
    /// queue for them: what is in the server's hands is a delay only as far as a thread was seen to wait.
    fn delay_by_threads(&self) -> Option<f64> {
        let blocked = self.blocked.as_ref().filter(|b| self.workers.is_none() && b.threads < self.under_way)?;
        let busy = (blocked.held + blocked.runnable) * self.throughput / 1e9 / blocked.threads;
        (busy >= ALL_HELD).then(|| self.latency - self.in_hands() + self.waited)
    }
}
