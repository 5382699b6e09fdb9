//! What the latency would be if something were gone: a closed queueing network with the demands that were measured. Invariant:
//! what is asked of the network is only by which factor its latency changes, and the measured one changes by that.
//!
//! The CPUs are one station of m servers (mean value analysis: Reiser and Lavenberg 1980, JACM 27(2), with Seidmann's form of
//! several servers: Seidmann et al. 1987, "Computerized closed queueing network models", FMS 1(4)). Waits that nothing serves are a
//! delay; its size is what makes the network's latency the measured one. A resource that a query holds while it also uses a CPU
//! (one thread, the runtime's workers) becomes a station of its own where it is scarcer than the CPUs, which then serve the rest;
//! every resource bounds the latency from below by N D / m (operational laws: Denning and Buzen 1978).

/// The network at one level. Times in ns a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// N.
    pub clients: f64,
    /// R, measured.
    pub latency: f64,
    /// CPU of everything that takes part, in CPUs that it can have.
    pub cpu: f64,
    pub cpus: f64,
    pub held: Vec<Held>,
    /// The delay is at most this, by other evidence than the latency.
    pub most_delay: Option<f64>,
}

/// A resource that is held, of so many servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    pub what: Holding,
    pub demand: f64,
    pub servers: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The server's busiest thread.
    Thread,
    /// The threads of the server's runtime.
    Workers,
    /// The generator's threads.
    Generator,
}

/// What is taken away, in ns a query; `cpus` are given back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removal {
    pub cpu: f64,
    pub delay: f64,
    pub cpus: f64,
    pub held: Vec<(Holding, f64)>,
}

impl Network {
    /// The same with as many CPUs, between `least` and those that there are, that a query spends `residence` ns on them and
    /// waiting for them.
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

    /// ns of latency that go with what is taken away; never negative, never more than there is.
    pub fn effect(&self, removal: &Removal) -> f64 {
        // A single client's waits follow one another: there is at least the delay that was measured.
        let least = if self.clients < 2.0 { removal.delay } else { 0.0 };
        let delay = self.delay().max(least);
        let as_is = self.response(delay);
        let held = self.held.iter().map(|held| {
            let gone: f64 = removal.held.iter().filter(|(what, _)| *what == held.what).map(|(_, ns)| ns).sum();
            Held { demand: (held.demand - gone).max(0.0), ..*held }
        });
        let without = Network {
            cpu: (self.cpu - removal.cpu).max(0.0),
            cpus: self.cpus + removal.cpus,
            held: held.collect(),
            ..self.clone()
        };
        let gone = as_is - without.response((delay - removal.delay).max(0.0));
        // A single client queues for nothing, so what is taken away goes as it is, whatever else the network lacks or counts twice.
        let scale = if self.clients < 2.0 { 1.0 } else { self.latency / as_is };
        (gone * scale).clamp(0.0, self.latency)
    }

    /// The delay with which the network's latency is the measured one; 0 where its queues alone exceed that, and never more than
    /// it can be.
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
        self.queueing(delay).max(self.clients * scarcest)
    }

    /// Mean value analysis of the stations and the delay.
    fn queueing(&self, delay: f64) -> f64 {
        let scarce = |held: &&Held| held.demand / held.servers > self.cpu / self.cpus;
        let scarcest =
            self.held.iter().filter(scarce).max_by(|a, b| (a.demand / a.servers).total_cmp(&(b.demand / b.servers)));
        let on_cpus = self.cpu - scarcest.map_or(0.0, |held| held.demand.min(self.cpu));
        // Fewer than one CPU (others take the rest) is one slower CPU.
        let servers = self.cpus.max(1.0);
        let mut stations = vec![Station::of(on_cpus * servers / self.cpus, servers)];
        stations.extend(scarcest.map(|held| Station::of(held.demand, held.servers)));
        let fixed = delay + stations.iter().map(|station| station.fixed).sum::<f64>();
        let mut response = 0.0;
        for clients in 1..=self.clients.round().max(1.0) as usize {
            response = fixed + stations.iter().map(Station::response).sum::<f64>();
            let throughput = clients as f64 / response.max(f64::MIN_POSITIVE);
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
        Network { clients, latency, cpu: 20_000.0, cpus: 2.0, held: Vec::new(), most_delay: None }
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
        let thread = Held { what: Holding::Thread, demand: 50_000.0, servers: 1.0 };
        let held = Network { cpu: 70_000.0, held: vec![thread], ..network(16.0, 800_000.0) };
        let gone = Removal { cpu: 50_000.0, held: vec![(Holding::Thread, 50_000.0)], ..Removal::default() };
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
    fn cpus_that_others_take_are_given_back() {
        let taken = Network { cpus: 1.0, ..network(16.0, 320_000.0) };
        within(taken.effect(&Removal { cpus: 1.0, ..Removal::default() }), 160_000.0, 0.05);
    }
}
