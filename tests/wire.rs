//! Places at real sockets: a PostgreSQL under load, followed by the kernel's program. Skipped, with the reason printed, where
//! the host permits no such program or has no PostgreSQL.

mod postgres;

use postgres::Postgres;
use std::time::Duration;
use wireprof::load::{Driver, Options, PgwireDriver};
use wireprof::wire::{Hop, Place, SocketProgram, WireSource};
use wireprof::workload::Workload;

fn followed(hops: Vec<Hop>) -> Option<SocketProgram> {
    SocketProgram::open(hops).map_err(|why| println!("skipped: {why:#}")).ok()
}

#[test]
fn places_sum_to_the_clients_latency_and_populations_to_the_clients() {
    let Some(server) = Postgres::start("") else { return };
    let address = server.address("postgres");
    let hops = vec![Hop { name: "target".into(), port: address.local_port().unwrap() }];
    let Some(mut wire) = followed(hops.clone()) else { return };
    let clients = 8;
    let workload = Workload::from_query("select count(*) from generate_series(1, 200)");
    let mut load = PgwireDriver::new(address, workload, Options::default()).open(clients).unwrap();
    load.start().unwrap();
    wire.start().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = wire.snapshot().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let after = wire.snapshot().unwrap();
    wire.stop();
    let delta = before.until(&after, &hops, wire.sends_seen());
    let trace = load.stop(delta.span).unwrap();
    let hop = &delta.hops[0];
    assert_eq!((hop.connections, hop.client_seen, hop.server_seen, hop.pipelined), (8, 8, 8, 0));
    assert!(hop.queries.abs_diff(trace.completed) <= clients as u64, "{} {}", hop.queries, trace.completed);
    let populations: f64 = Place::ALL.iter().map(|place| hop.population(*place, delta.span)).sum();
    assert!((populations - clients as f64).abs() < 0.01 * clients as f64, "{populations}");
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    assert!((sum / latency - 1.0).abs() < 0.02, "places {sum} ns, latency {latency} ns");
    // Some of its work is done by the server: a place that nobody was in would be one that is not seen.
    assert!(hop.mean(Place::Server).unwrap() > 1_000.0, "{hop:?}");
}

#[test]
fn before_it_starts_and_after_it_stops_nothing_is_seen_and_a_fifth_hop_is_refused() {
    let hop = |port| Hop { name: "target".into(), port };
    let Some(wire) = followed(vec![hop(5432)]) else { return };
    let snapshot = wire.snapshot().unwrap();
    assert!(snapshot.hops[0].connections.is_empty());
    let refused = SocketProgram::open((1..=5).map(hop).collect()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("hops"), "{refused}");
    assert!(SocketProgram::open(Vec::new()).is_err());
}
