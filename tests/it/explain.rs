//! Both views of a run whose figures are constructed: places that add up, demands that bound, growth that is divided
//! without remainder.

use crate::build;
use std::collections::BTreeMap;
use wireprof::analyze::cost::demands::{bounds, demands};
use wireprof::analyze::time::growth::growth;
use wireprof::analyze::time::places::places;
use wireprof::analyze::time::populations::populations;
use wireprof::clock::Span;
use wireprof::render::{demands_section, growth_section, places_section};
use wireprof::run::{Run, Window};
use wireprof::target::{MachineDelta, Role, SchedulerDelta};
use wireprof::wire::{HopDelta, Listens, Others, Place, Purpose, UseDelta, WireDelta};

const SECOND: u64 = 1_000_000_000;

/// Mean us in each place, in the order of the path; the connections' time is whole.
fn hop(name: &str, queries: u64, connections: u64, micros: [u64; 6]) -> HopDelta {
    build::hop(name, queries, connections, micros.map(|micros| micros as f64))
}

/// A window of one second.
fn window(level: usize, queries: u64, latency: u64, hops: Vec<HopDelta>, cpu: [u64; 2]) -> Window {
    let mut window = build::window(level, 1, 1, queries, None);
    let span = Span::new(0, SECOND);
    (window.facts.span, window.load.span) = (span, span);
    window.load.latency_sum = Some(queries * latency * 1_000);
    window.wire = Some(WireDelta { span, hops, sends_seen: true });
    window.scheduler = Some(SchedulerDelta {
        span,
        threads: vec![
            build::thread(Role::Target, "p", "worker", 1, cpu[0]),
            build::thread(Role::Generator, "p", "load", 2, cpu[1]),
        ],
        machine: Some(MachineDelta { cpus: 2, busy: cpu[0] + cpu[1], ..MachineDelta::default() }),
    });
    window
}

/// One client: 10,000 q/s, 100 us. Ten clients: 20,000 q/s, 500 us, of which 301 us in the server's socket buffer.
fn run() -> Run {
    let one = window(1, 10_000, 100, vec![hop("target", 10_000, 1, [2, 3, 10, 70, 3, 12])], [SECOND / 2, SECOND / 10]);
    let behind = hop("database", 5_000, 4, [600, 5, 50, 20, 5, 120]);
    let ten = vec![hop("target", 20_000, 10, [2, 3, 311, 120, 3, 61]), behind];
    build::run(vec![one, window(10, 20_000, 500, ten, [8 * SECOND / 10, SECOND / 10])])
}

#[test]
fn connections_to_other_servers_are_told_below_the_table_and_take_the_quantiles_with_them() {
    let mut run = run();
    let hop = &mut run.windows[0].wire.as_mut().unwrap().hops[0];
    hop.elsewhere = Some(Others { connections: 3, queries: 40 });
    let found = &places(&run)[0];
    let quantiles = |level: usize| found.levels[&level].places.iter().map(|share| share.p99).collect::<Vec<_>>();
    assert_eq!((found.levels[&1].elsewhere, found.levels[&10].elsewhere), (Some(3), None));
    assert!(quantiles(1).iter().all(Option::is_none) && quantiles(10).iter().all(Option::is_some));
    let notes = places_section(std::slice::from_ref(found)).unwrap().tables[0].notes.join("\n");
    let told = "3 connections of this host went to other servers with the same port (on other hosts, or in other \
                network namespaces): they are in none of these figures.";
    assert!(notes.lines().any(|note| note == told), "{notes}");
}

#[test]
fn places_are_divided_by_round_trips_and_populations_by_the_window() {
    let found = places(&run());
    let (target, ten) = (&found[0], &found[0].levels[&10]);
    assert!(target.of_load && target.levels.len() == 2);
    assert_eq!(ten.places[Place::ServerBuffer.index()].mean, Some(311_000.0));
    assert!((ten.places[Place::ServerBuffer.index()].population - 6.22).abs() < 1e-9);
    assert_eq!((ten.within_latency(), ten.rest()), (Some(498_000.0), Some(2_000.0)));
    // By the client's own clock it is at a query all the time: what the sockets call its hands are its system calls.
    assert_eq!((ten.client_calls, ten.residual()), (Some(2_000.0), Some(0.0)));
    assert_eq!(ten.round_trips, 1.0);
    let everyone: f64 = ten.places.iter().map(|share| share.population).sum();
    assert!((everyone - 10.0).abs() < 1e-9, "{everyone}");
}

#[test]
fn changes_of_place_against_their_clocks_are_told_where_there_were_any_and_absent_where_nobody_counted() {
    let notes = |counted: [Option<u64>; 2]| {
        let mut run = run();
        let wires = run.windows.iter_mut().filter_map(|window| window.wire.as_mut());
        wires.zip(counted).for_each(|(wire, counted)| wire.hops[0].reversed = counted);
        let section = places_section(&places(&run)).unwrap();
        section.tables[0].notes.iter().filter(|note| note.contains("reverse order")).cloned().collect::<Vec<_>>()
    };
    assert!(notes([None, None]).is_empty() && notes([Some(0), Some(0)]).is_empty());
    let told = notes([Some(0), Some(3)]);
    assert!(told.len() == 1 && told[0].starts_with("Level 10: 3 changes of place"), "{told:?}");
    let wire = serde_json::to_string(run().windows[0].wire.as_ref().unwrap()).unwrap();
    assert!(!wire.contains("reversed"), "what was not counted is not written: {wire}");
}

#[test]
fn names_without_room_are_told_under_the_uses_where_there_were_any() {
    let notes = |unnamed: Option<u64>| {
        let mut run = run();
        run.windows.remove(0);
        let behind = &mut run.windows[0].wire.as_mut().unwrap().hops[1];
        let nanos = [0, 5_000, 50_000, 20_000, 5_000, 120_000];
        let purpose = Purpose::Statement("select ?".into());
        behind.uses = Some(vec![UseDelta { purpose, round_trips: 1, by_database: 0, nanos }]);
        behind.unnamed = unnamed;
        let section = places_section(&places(&run)).unwrap();
        let all = section.tables.into_iter().flat_map(|table| table.notes);
        all.filter(|note| note.contains("no room")).collect::<Vec<_>>()
    };
    assert!(notes(None).is_empty() && notes(Some(0)).is_empty());
    let told = notes(Some(3));
    assert!(told.len() == 1 && told[0].starts_with("For 3 names of prepared statements"), "{told:?}");
}

#[test]
fn a_unix_socket_has_no_place_on_a_network_and_needs_no_kernel_that_tells_of_sending() {
    let mut run = run();
    run.windows.remove(0);
    for wire in run.windows.iter_mut().filter_map(|window| window.wire.as_mut()) {
        wire.sends_seen = false;
        wire.hops[0].hop.at = Listens::Socket("/run/postgresql/.s.PGSQL.5432".into());
        for place in [Place::Request, Place::Response] {
            wire.hops[0].stays[place.index()].nanos = 0;
        }
    }
    let hops = places(&run);
    let ten = &hops[0].levels[&10];
    assert_eq!((ten.sends_seen, ten.over_network, ten.client_calls), (true, false, Some(2_000.0)));
    assert!(ten.places[Place::ServerBuffer.index()].population > 0.0 && !hops[1].levels[&10].sends_seen);
    let section = places_section(&hops).unwrap();
    let text = format!("{:?}", section.tables[0]);
    assert!(!text.contains("on the network") && text.contains("It goes through a Unix socket"), "{text}");
    assert!(format!("{:?}", section.tables[1]).contains("request on the network"), "the other hop is by TCP");
    let shown = populations(&hops, &BTreeMap::new());
    assert_eq!(shown.iter().map(|there| there.place).filter(|place| place.on_network()).count(), 0);
    assert!(shown.iter().any(|there| there.place == Place::ServerBuffer));
}

#[test]
fn the_clients_system_calls_are_its_hands_less_the_time_between_its_queries() {
    // Of 100 us a query 98.6 are latency: of the 2 us in the client's hands it thinks for 1.4.
    let told = |change: fn(&mut Window)| {
        let mut run = run();
        run.windows[0].load.latency_sum = Some(10_000 * 98_600);
        change(&mut run.windows[0]);
        places(&run)[0].levels[&1].client_calls
    };
    assert!((told(|_| ()).unwrap() - 600.0).abs() < 1e-6);
    assert_eq!(told(|window| window.load.rate = Some(10_000.0)), None, "an open loop counts from the schedule");
    assert_eq!(told(|window| window.load.sessions.lost = 1), None);
    assert_eq!(told(|window| window.wire.as_mut().unwrap().sends_seen = false), None);
    assert_eq!(
        told(|window| window.load.latency_sum = Some(10_000 * 97_000)),
        None,
        "it cannot think longer than it has"
    );
}

#[test]
fn a_hop_that_only_some_windows_have_is_told_with_its_round_trips_a_query() {
    let mut run = run();
    // The first window names the hops.
    run.windows[0].wire.as_mut().unwrap().hops.push(hop("database", 0, 0, [0; 6]));
    let found = places(&run);
    assert_eq!(found[1].hop, "database");
    assert_eq!(found[1].levels[&10].round_trips, 0.25);
    assert_eq!(found[1].levels[&1].places[0].mean, None, "without a round trip there is no mean, and it is not 0");
    assert_eq!(found[1].levels[&10].latency, None);
}

#[test]
fn the_resource_of_the_least_capacity_over_demand_bounds_the_throughput() {
    let run = run();
    let demands = demands(&run);
    let of =
        |resource: &str| demands.iter().find(|demand| demand.resource.to_string() == resource).unwrap().levels[&10];
    assert_eq!((of("CPU of the server").demand, of("CPU of the server").capacity), (40_000.0, 2.0));
    assert!((of("all CPUs of the machine").utilisation - 0.45).abs() < 1e-9);
    // A worker of 40 us a query serves 25,000 q/s; the connections behind, 4 of 50 us, 80,000.
    let bound = &bounds(&run, &demands)[1];
    assert_eq!(
        (bound.resource.to_string().as_str(), bound.throughput.round()),
        ("busiest thread of the server", 25_000.0)
    );
    assert_eq!(bound.clients, Some(100_000.0 / 40_000.0));
    let behind = of("connections to the database");
    assert_eq!((behind.demand, behind.capacity), (5_000.0 * 200_000.0 / 20_000.0, 4.0));
}

#[test]
fn growth_is_divided_among_the_places_without_remainder_and_into_work_and_waiting() {
    let run = run();
    let found = growth(&run, &places(&run)).unwrap();
    assert_eq!((found.from, found.to, found.latency), (1, 10, 400_000.0));
    assert_eq!(found.places[0], (Place::ServerBuffer, 301_000.0));
    let parts: f64 = found.places.iter().map(|(_, nanos)| nanos).sum();
    assert_eq!(parts + found.rest.unwrap(), found.latency);
    // 60 us of CPU a query at one client, 45 us at ten.
    assert_eq!((found.work, found.waiting()), (Some(-15_000.0), Some(415_000.0)));
}

#[test]
fn what_was_not_followed_is_said_to_be_not_measured() {
    let mut run = run();
    for window in &mut run.windows {
        (window.wire, window.scheduler) = (None, None);
    }
    assert!(places(&run).is_empty() && places_section(&[]).is_none());
    let section = demands_section(&demands(&run), &bounds(&run, &demands(&run)));
    assert!(section.tables.is_empty() && section.notes[0].starts_with("Not measured"), "{section:?}");
    let grown = growth(&run, &[]).unwrap();
    assert_eq!((grown.places.len(), grown.rest, grown.work), (0, None, None));
    let said = growth_section(Some(&grown)).unwrap().notes;
    assert!(said.iter().any(|note| note.contains("not measured")), "{said:?}");
}

#[test]
fn the_sentence_names_where_the_clients_are_and_leaves_out_where_nobody_is() {
    let section = places_section(&places(&run())).unwrap();
    assert_eq!(
        section.notes[1],
        "Of 10 clients, on average: 6.2 in the server's socket buffers, 2.4 in the server's hands, 1.2 in the \
            client's socket buffers."
    );
}
