//! What the latency would be if something were gone: a closed queueing network with the demands that were measured.
//! Invariant: what is asked of the network is only by which factor its latency changes, and the measured one changes
//! by that.
//!
//! The CPUs are one station of m servers (mean value analysis: Reiser and Lavenberg 1980, JACM 27(2), with Seidmann's
//! form of several servers: Seidmann et al. 1987, "Computerized closed queueing network models", FMS 1(4)). Waits
//! that nothing serves are a delay; its size is what makes the network's latency the measured one. A resource that a
//! query holds while it also uses a CPU (one thread, the runtime's workers) becomes a station of its own where it is
//! scarcer than the CPUs, which then serve what is left; every resource bounds the latency from below by N D / m
//! (operational laws: Denning and Buzen 1978).
//!
//! A busier server works in larger batches (a wake-up, a system call, a round trip serve several queries), so that
//! what is left costs less when something is taken away and the throughput rises. By how much is read from the run's
//! own levels: CPU a query is a + b / X, through this level and the lowest one, X the throughput.

/// The network at one level. Times in ns a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// N: the number of clients.
    pub clients: f64,
    /// Z: ns between an answer and the next query.
    pub think: f64,
    /// R, measured, ns.
    pub latency: f64,
    /// CPU of everything that takes part, ns a query.
    pub cpu: f64,
    /// Number of CPUs that everything that takes part can have; not always a whole number.
    pub cpus: f64,
    /// Resources that a query holds while it also uses a CPU.
    pub held: Vec<HeldResource>,
    /// The delay is at most this, ns, by other evidence than the latency; `None`: no such evidence.
    pub most_delay: Option<f64>,
    /// A level of less throughput; `None`: what is left costs what it costs.
    pub lower: Option<LowerLevel>,
    /// Others that take CPUs give way as more threads of the measurement want one; `None`: they take what they take.
    pub others: Option<Competing>,
}

/// CPUs that are shared with others in proportion to the threads that want one, as fair schedulers do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Competing {
    /// Number of CPUs in all.
    pub cpus: f64,
    /// The others' threads that want one, on average, by what the measurement's got.
    pub threads: f64,
}

impl Competing {
    /// The CPUs that so many threads of the measurement get.
    fn left_to(self, threads: f64) -> f64 {
        self.cpus * threads / (threads + self.threads).max(f64::MIN_POSITIVE)
    }
}

/// A level of the same run with less throughput.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowerLevel {
    /// Its throughput as a share of this level's, above 0 and below 1.
    pub throughput: f64,
    /// CPU a query there, ns.
    pub cpu: f64,
}

/// At most this share of the CPU is of that kind (b / X): all of it would be no work of queries at all, but of time.
const MOST_SHARED: f64 = 0.75;

/// A resource that is held, of so many servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldResource {
    /// What kind of resource it is.
    pub what: ResourceKind,
    /// ns a query that it is held.
    pub demand: f64,
    /// Number of queries that it can serve at once (threads).
    pub servers: f64,
}

/// What a query can hold while it also uses a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// The server's busiest thread.
    Thread,
    /// The threads of the server's runtime.
    Workers,
    /// The generator's threads.
    Generator,
    /// The CPUs that the server may use.
    ServersCpus,
}

/// What is taken away, in ns a query; `cpus` are given back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removal {
    /// ns of CPU a query.
    pub cpu: f64,
    /// ns of CPU a query at the lower level; `None`: as much as `cpu`.
    pub lower_cpu: Option<f64>,
    /// ns a query of waits that nothing serves.
    pub delay: f64,
    /// Number of CPUs that the measurement gets back.
    pub cpus: f64,
    /// ns a query that each of these resources is held less.
    pub held: Vec<(ResourceKind, f64)>,
}

impl Network {
    /// The same with as many CPUs, between `least` and those that there are, that a query spends `residence` ns on
    /// them and waiting for them.
    pub fn contended(self, least: f64, residence: f64) -> Network {
        let (mut low, mut high) = (least.min(self.cpus), self.cpus);
        let on_cpus = |cpus: f64| self.latency - Network { cpus, ..self.clone() }.delay();
        if on_cpus(high) >= residence {
            return self;
        }
        // To a thousandth of a CPU.
        while high - low > 1e-3 {
            let middle = f64::midpoint(low, high);
            if on_cpus(middle) > residence { low = middle } else { high = middle }
        }
        Network { cpus: high, ..self }
    }

    /// The same, others giving way that take the rest of `cpus` CPUs.
    pub fn sharing(self, cpus: f64) -> Network {
        let delay = self.delay();
        let threads = self.clients * (1.0 - delay / self.response(delay)).max(0.0);
        let others = threads * (cpus / self.cpus - 1.0).max(0.0);
        Network { others: Some(Competing { cpus, threads: others }), ..self }
    }

    /// ns of latency that go with what is taken away; never negative, never more than there is.
    pub fn effect(&self, removal: &Removal) -> f64 {
        // A single client's waits follow one another: there is at least the delay that was measured.
        let single = self.clients < 2.0;
        let delay = self.delay().max(if single { removal.delay } else { 0.0 });
        let as_is = self.response(delay);
        let undelayed = self.response_without(removal, delay, as_is);
        let changed = self.response_without(removal, (delay - removal.delay).max(0.0), as_is);
        // A single client queues for nothing, so what is taken away goes as it is, whatever else the network lacks or
        // counts twice. With more, work goes in the proportion of the latencies, and so does a delay, but never more
        // than it is.
        let scale = if single { 1.0 } else { self.latency / as_is };
        let delayed = undelayed - changed;
        ((as_is - undelayed) * scale + (delayed * scale).min(delayed.max(removal.delay))).clamp(0.0, self.latency)
    }

    /// The latency without the removal's work, with so much delay; `as_is` is what it is with the work.
    fn response_without(&self, removal: &Removal, delay: f64, as_is: f64) -> f64 {
        let shared = self.shared(removal);
        // Where the others themselves are what is taken away, they do not give way.
        let others = self.others.filter(|_| removal.cpus == 0.0);
        let (mut response, mut cpus) = (as_is, self.cpus + removal.cpus);
        // Each round brings it closer by the share at least; to 1e-6 for the highest.
        for _ in 0..50 {
            let left = 1.0 - shared + shared * (response / as_is).min(1.0);
            let held = self.held.iter().map(|held| {
                let gone: f64 = removal.held.iter().filter(|(what, _)| *what == held.what).map(|(_, ns)| ns).sum();
                HeldResource { demand: (held.demand - gone).max(0.0) * left, ..*held }
            });
            let without =
                Network { cpu: (self.cpu - removal.cpu).max(0.0) * left, cpus, held: held.collect(), ..self.clone() };
            response = without.response(delay);
            if let Some(others) = others {
                // As many want a CPU as are not delayed; halfway there, lest it swings.
                let wanting = self.clients * (1.0 - delay / response).max(0.0);
                cpus = f64::midpoint(cpus, others.left_to(wanting));
            } else if shared == 0.0 {
                break;
            }
        }
        response
    }

    /// The share of the CPU that queries share (b / X of a + b / X), but for what is removed.
    fn shared(&self, removal: &Removal) -> f64 {
        let Some(lower) = self.lower.filter(|_| self.clients >= 2.0) else { return 0.0 };
        let (here, there) = (self.cpu - removal.cpu, lower.cpu - removal.lower_cpu.unwrap_or(removal.cpu));
        if here <= 0.0 || there <= here {
            return 0.0;
        }
        ((there / here - 1.0) / (1.0 / lower.throughput - 1.0)).min(MOST_SHARED)
    }

    /// The delay with which the network's latency is the measured one; 0 where its queues alone exceed that, and
    /// never more than it can be.
    pub fn delay(&self) -> f64 {
        let most = self.most_delay.map_or(self.latency, |most| most.min(self.latency));
        let (mut low, mut high) = (0.0, most);
        // 60 halvings: below a nanosecond for any latency.
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.response(middle) > self.latency { high = middle } else { low = middle }
        }
        low
    }

    fn response(&self, delay: f64) -> f64 {
        let held = self.held.iter().map(|held| held.demand / held.servers);
        let scarcest = held.chain([self.cpu / self.cpus]).fold(0.0, f64::max);
        self.queueing(delay).max(self.clients * scarcest - self.think)
    }

    /// Mean value analysis of the stations, the delay and the think time.
    fn queueing(&self, delay: f64) -> f64 {
        let scarce = |held: &&HeldResource| held.demand / held.servers > self.cpu / self.cpus;
        let scarcest =
            self.held.iter().filter(scarce).max_by(|a, b| (a.demand / a.servers).total_cmp(&(b.demand / b.servers)));
        let on_cpus = self.cpu - scarcest.map_or(0.0, |held| held.demand.min(self.cpu));
        // Fewer than one CPU (others take what is left of it) is one slower CPU.
        let servers = self.cpus.max(1.0);
        let mut stations = vec![Station::of(on_cpus * servers / self.cpus, servers)];
        stations.extend(scarcest.map(|held| Station::of(held.demand, held.servers)));
        let fixed = delay + stations.iter().map(|station| station.fixed).sum::<f64>();
        let mut response = 0.0;
        for clients in 1..=self.clients.round().max(1.0) as usize {
            response = fixed + stations.iter().map(Station::response).sum::<f64>();
            let throughput = clients as f64 / (response + self.think).max(f64::MIN_POSITIVE);
            stations.iter_mut().for_each(|station| station.queue = throughput * station.response());
        }
        response
    }
}

/// Several servers as one that is as fast as all of them, and a delay.
struct Station {
    queued: f64,
    fixed: f64,
    /// Clients there on average, with one client less.
    queue: f64,
}

impl Station {
    fn of(demand: f64, servers: f64) -> Self {
        Station { queued: demand / servers, fixed: demand * (servers - 1.0) / servers, queue: 0.0 }
    }

    fn response(&self) -> f64 {
        self.queued * (1.0 + self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(clients: f64, latency: f64) -> Network {
        Network {
            clients,
            think: 0.0,
            latency,
            cpu: 20_000.0,
            cpus: 2.0,
            held: Vec::new(),
            most_delay: None,
            lower: None,
            others: None,
        }
    }

    fn within(found: f64, expected: f64, share: f64) {
        assert!((found / expected - 1.0).abs() < share, "{found} instead of {expected}");
    }

    #[test]
    fn at_one_client_what_is_taken_away_is_what_goes() {
        let one = network(1.0, 100_000.0);
        within(one.delay(), 80_000.0, 1e-6);
        within(one.effect(&Removal { cpu: 5_000.0, ..Removal::default() }), 5_000.0, 1e-6);
        within(one.effect(&Removal { delay: 60_000.0, ..Removal::default() }), 60_000.0, 1e-6);
    }

    #[test]
    fn on_saturated_cpus_work_goes_n_over_m_times_and_delays_do_not_go_at_all() {
        let many = network(64.0, 640_000.0);
        within(many.effect(&Removal { cpu: 5_000.0, ..Removal::default() }), 32.0 * 5_000.0, 0.05);
        assert!(many.effect(&Removal { delay: 50_000.0, ..Removal::default() }) < 0.05 * 640_000.0);
    }

    #[test]
    fn a_delay_goes_only_until_the_cpus_are_the_limit() {
        // 64 clients need 640 us on the CPUs; the delay makes it 2 ms.
        let delayed = network(64.0, 2_000_000.0);
        within(delayed.effect(&Removal { delay: 2_000_000.0, ..Removal::default() }), 1_360_000.0, 0.03);
    }

    #[test]
    fn a_held_resource_bounds_the_latency_until_the_next_bound() {
        let thread = HeldResource { what: ResourceKind::Thread, demand: 50_000.0, servers: 1.0 };
        let held = Network { cpu: 70_000.0, held: vec![thread], ..network(16.0, 800_000.0) };
        let gone = Removal { cpu: 50_000.0, held: vec![(ResourceKind::Thread, 50_000.0)], ..Removal::default() };
        within(held.effect(&gone), 800_000.0 - 16.0 * 10_000.0, 0.05);
    }

    #[test]
    fn near_saturation_a_bounded_delay_leaves_the_latency_to_the_queues() {
        // 96 % of the CPUs: with as much delay as the latency allows, the work seems to matter half as much.
        let near = network(16.0, 166_000.0);
        let work = Removal { cpu: 10_000.0, ..Removal::default() };
        let bounded = Network { most_delay: Some(20_000.0), ..near.clone() };
        within(bounded.effect(&work), 83_000.0, 0.05);
        assert!(near.effect(&work) < 0.9 * bounded.effect(&work));
    }

    #[test]
    fn a_pure_delay_takes_no_more_with_it_than_it_is() {
        // The delay explains only half of the latency; queues of another kind may explain the rest.
        let queued = Network { most_delay: Some(400_000.0), ..network(4.0, 1_000_000.0) };
        within(queued.effect(&Removal { delay: 300_000.0, ..Removal::default() }), 300_000.0, 0.02);
    }

    #[test]
    fn what_is_left_costs_less_at_a_higher_throughput_as_far_as_it_did_between_levels() {
        // 20 us a query, half of it removed; at a quarter of the throughput the other 10 us were 20, so a third of
        // them is shared. The throughput rises by r with r (10 - 10/3 + 10/3 / r) = 20: two and a half times.
        let saturated = network(64.0, 640_000.0);
        let gone = Removal { cpu: 10_000.0, ..Removal::default() };
        within(saturated.effect(&gone), 320_000.0, 0.05);
        let lower = Some(LowerLevel { throughput: 0.25, cpu: 30_000.0 });
        within(Network { lower, ..saturated.clone() }.effect(&gone), 384_000.0, 0.05);
        // Work that got dearer tells nothing.
        let lower = Some(LowerLevel { throughput: 0.25, cpu: 15_000.0 });
        within(Network { lower, ..saturated }.effect(&gone), 320_000.0, 0.05);
    }

    #[test]
    fn cpus_that_others_take_count_as_far_as_they_were_waited_for() {
        // 20 us of CPU at one client; others take one and a half CPUs, and yet nothing waited.
        let one = network(1.0, 100_000.0);
        within(one.clone().contended(0.5, 20_000.0).cpus, 2.0, 1e-6);
        let waited = one.clone().contended(0.5, 30_000.0);
        within(waited.latency - waited.delay(), 30_000.0, 0.01);
        // Never fewer than the others left.
        within(one.contended(0.5, 90_000.0).cpus, 0.5, 0.01);
    }

    #[test]
    fn others_give_way_to_threads_that_wait_no_longer() {
        // Those of 16 clients that are not delayed get half a CPU of two, so that the others are three times as many
        // threads. All 16 get more.
        let others = Network { cpus: 0.5, cpu: 500_000.0, ..network(16.0, 20_000_000.0) };
        let gone = Removal { delay: 20_000_000.0, ..Removal::default() };
        let shared = others.clone().sharing(2.0);
        let competing = shared.others.unwrap().threads;
        assert!((3.0..30.0).contains(&competing), "{shared:?}");
        let cpus = 2.0 * 16.0 / (16.0 + competing);
        within(shared.effect(&gone), 20_000_000.0 - 16.0 * 500_000.0 / cpus, 0.1);
        assert!(others.effect(&gone) < 0.7 * shared.effect(&gone));
    }

    #[test]
    fn cpus_that_others_take_are_given_back() {
        let taken = Network { cpus: 1.0, ..network(16.0, 320_000.0) };
        within(taken.effect(&Removal { cpus: 1.0, ..Removal::default() }), 160_000.0, 0.05);
    }
}
