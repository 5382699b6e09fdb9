//! Places at real sockets: a PostgreSQL under load, followed by the kernel's program. Skipped, with the reason
//! printed, where the host permits no such program or has no PostgreSQL.

use crate::hosts::Hosts;
use crate::load_wire::{message, server};
use crate::postgres::Postgres;
use crate::skip::skip;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wireprof::load::{Address, Driver, LoopKind, Options, PgwireDriver, Protocol};
use wireprof::wire::{Hop, HopDelta, Listens, Place, SocketProgram, WireDelta, WireSource};
use wireprof::workload::Workload;

fn followed(hops: Vec<Hop>) -> Option<SocketProgram> {
    SocketProgram::open(hops).map_err(|why| skip(format!("{why:#}"))).ok()
}

/// A PostgreSQL whose port is followed.
fn followed_server() -> Option<(Postgres, Address, Vec<Hop>, SocketProgram)> {
    let server = Postgres::start("")?;
    let address = server.address("postgres");
    let hops = vec![Hop { name: "target".into(), at: Listens::Port(address.local_port().unwrap()) }];
    let wire = followed(hops.clone())?;
    Some((server, address, hops, wire))
}

/// A second under load with its timelines.
fn second(wire: &mut SocketProgram, hops: &[Hop], own: Option<&BTreeSet<u32>>) -> WireDelta {
    wire.start().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = wire.snapshot().unwrap();
    wire.take_timelines(1.0).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let after = wire.snapshot().unwrap();
    wire.stop();
    let mut delta = before.until(&after, hops, wire.sends_seen(), own);
    delta.add_timelines(wire.timelines(), own);
    delta
}

#[test]
fn places_sum_to_the_clients_latency_and_populations_to_the_clients() {
    [LoopKind::Epoll, LoopKind::IoUring].into_iter().for_each(places_sum_through);
}

fn places_sum_through(through: LoopKind) {
    let Some((_server, address, hops, mut wire)) = followed_server() else { return };
    let clients = 8;
    let workload = Workload::from_query("select count(*) from generate_series(1, 200)");
    let options = Options { through: Some(through), ..Options::default() };
    let mut load = PgwireDriver::new(address, workload, options).open(clients).unwrap();
    load.start().unwrap();
    let delta = second(&mut wire, &hops, None);
    let trace = load.stop(delta.span).unwrap();
    let hop = &delta.hops[0];
    assert_eq!((hop.connections, hop.client_seen, hop.server_seen, hop.pipelined), (8, 8, 8, 0));
    assert!(hop.queries.abs_diff(trace.completed) <= clients as u64, "{} {}", hop.queries, trace.completed);
    let populations: f64 = Place::ALL.iter().map(|place| hop.population(*place, delta.span)).sum();
    assert!((populations - clients as f64).abs() < 0.01 * clients as f64, "{populations}");
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    // Requests that go out together wait for each other before the sockets see them: in the latency, and counted.
    let delay = trace.generator.dispatch_delay.unwrap() as f64 / trace.completed as f64;
    let more = if through == LoopKind::IoUring { 2.0 * delay } else { 0.0 };
    let told = format!("through {through}: places {sum} ns, latency {latency} ns, delay {delay} ns");
    assert!(sum < 1.02 * latency && latency - sum < 0.02 * latency + more, "{told}");
    // Some of its work is done by the server: a place that nobody was in would be one that is not seen.
    assert!(hop.mean(Place::Server).unwrap() > 1_000.0, "{hop:?}");
    // Every k-th query of each connection, whatever it took: as many as that, and their mean is that of all.
    let sample = hop.sample.as_ref().unwrap();
    let expected = hop.queries as f64 / f64::from(sample.every);
    assert!(sample.every >= 1 && sample.lost == 0, "{} {}", sample.every, sample.lost);
    let found = sample.queries.len() as f64;
    assert!((found - expected).abs() <= 0.02 * expected + 2.0 * clients as f64, "{found} of {expected}");
    let mean = sample.queries.iter().map(|query| query.latency() as f64).sum::<f64>() / found;
    assert!((mean / sum - 1.0).abs() < 0.25, "sampled {mean} ns, all {sum} ns");
}

#[test]
fn other_clients_of_the_server_are_in_no_place_of_the_load() {
    let Some((_server, address, hops, mut wire)) = followed_server() else { return };
    let open = |clients, sql| {
        let mut load = PgwireDriver::new(address.clone(), Workload::from_query(sql), Options::default()).open(clients);
        load.as_mut().unwrap().start().unwrap();
        load.unwrap()
    };
    let (load, strangers) = (open(2, "select 1"), open(3, "select pg_sleep(0.02)"));
    let own = load.ends().unwrap();
    assert_eq!(own.len(), 2);
    let delta = second(&mut wire, &hops, Some(&own));
    let (trace, others) = (load.stop(delta.span).unwrap(), strangers.stop(delta.span).unwrap());
    let hop = &delta.hops[0];
    let found = hop.others.unwrap();
    assert_eq!((hop.connections, found.connections), (2, 3));
    assert!(hop.queries.abs_diff(trace.completed) <= 2 + trace.completed / 500, "{} {}", hop.queries, trace.completed);
    assert!(found.queries.abs_diff(others.completed) <= 3, "{} {}", found.queries, others.completed);
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    assert!((sum / latency - 1.0).abs() < 0.05, "places {sum} ns, latency {latency} ns, others 20 ms");
    assert!(hop.sample.as_ref().unwrap().queries.iter().all(|query| own.contains(&query.client)));
}

#[test]
fn over_a_unix_socket_places_sum_to_the_latency_and_none_is_on_a_network() {
    let Some(server) = Postgres::start("") else { return };
    let directory = server.directory().display().to_string().replace('/', "%2F");
    let address = Address::parse(&format!("postgres://postgres@{directory}:{}/postgres", server.port)).unwrap();
    let at = Listens::Socket(address.socket().unwrap());
    let hops = vec![Hop { name: "target".into(), at }];
    let Some(mut wire) = followed(hops.clone()) else { return };
    let open = |address: &Address, clients, sql| {
        let mut load = PgwireDriver::new(address.clone(), Workload::from_query(sql), Options::default()).open(clients);
        load.as_mut().unwrap().start().unwrap();
        load.unwrap()
    };
    let load = open(&address, 4, "select count(*) from generate_series(1, 200)");
    let strangers = open(&address, 2, "select pg_sleep(0.02)");
    let by_network = open(&server.address("postgres"), 1, "select pg_sleep(0.01)");
    let own = load.ends().unwrap();
    let delta = second(&mut wire, &hops, Some(&own));
    let (trace, others) = (load.stop(delta.span).unwrap(), strangers.stop(delta.span).unwrap());
    by_network.stop(delta.span).unwrap();
    let hop = &delta.hops[0];
    assert_eq!((hop.connections, hop.client_seen, hop.server_seen, hop.pipelined), (4, 4, 4, 0));
    assert_eq!(hop.others.unwrap().connections, 2, "whoever comes by TCP is on another hop");
    assert!(hop.others.unwrap().queries.abs_diff(others.completed) <= 2, "{:?} {}", hop.others, others.completed);
    assert!(hop.queries.abs_diff(trace.completed) <= 4 + trace.completed / 500, "{} {}", hop.queries, trace.completed);
    assert!([Place::Request, Place::Response].map(|place| hop.stay(place).nanos) == [0, 0], "{hop:?}");
    let populations: f64 = Place::ALL.iter().map(|place| hop.population(*place, delta.span)).sum();
    assert!((populations - 4.0).abs() < 0.04, "{populations}");
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    // The client's own sending is no place of its own here.
    assert!((0.9..1.01).contains(&(sum / latency)), "places {sum} ns, latency {latency} ns");
    assert!(hop.mean(Place::Server).unwrap() > 1_000.0, "{hop:?}");
    let sample = hop.sample.as_ref().unwrap();
    assert!(sample.queries.len() > 100 && sample.queries.iter().all(|query| own.contains(&query.client)));
    // Started again, it knows nothing of before.
    let again = second(&mut wire, &hops, None);
    assert_eq!((again.hops[0].connections, again.hops[0].queries), (0, 0));
}

#[test]
fn the_extended_protocol_is_one_query_a_round_trip() {
    let Some((_server, address, hops, mut wire)) = followed_server() else { return };
    let options = Options { protocol: Protocol::Extended, ..Options::default() };
    let mut load = PgwireDriver::new(address, Workload::from_query("select 1"), options).open(2).unwrap();
    load.start().unwrap();
    wire.start().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let before = wire.snapshot().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let after = wire.snapshot().unwrap();
    wire.stop();
    let delta = before.until(&after, &hops, wire.sends_seen(), None);
    let trace = load.stop(delta.span).unwrap();
    let hop = &delta.hops[0];
    // A query for each client under way, and 1 ms for a reader that waits for one of two busy CPUs.
    let allowed = 2 + trace.completed / 500;
    assert!(hop.queries.abs_diff(trace.completed) <= allowed, "{} {}", hop.queries, trace.completed);
    assert_eq!(hop.pipelined, 0);
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    assert!((sum / trace.mean_latency().unwrap() - 1.0).abs() < 0.05, "{sum} ns");
}

/// Where the answers of a load come in parts, all of its latency is in places, and the pauses are the server's.
fn assert_in_parts(wire: &mut SocketProgram, at: Listens, address: Address, sql: &str, paused: f64) {
    let hops = vec![Hop { name: "target".into(), at }];
    let mut load = PgwireDriver::new(address, Workload::from_query(sql), Options::default()).open(2).unwrap();
    load.start().unwrap();
    let delta = second(wire, &hops, None);
    let trace = load.stop(delta.span).unwrap();
    let hop = &delta.hops[0];
    let sum: f64 = Place::ALL[1..].iter().map(|place| hop.mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    assert!((sum / latency - 1.0).abs() < 0.03, "places {sum} ns, latency {latency} ns");
    let (served, waited) = (hop.mean(Place::Server).unwrap(), hop.mean(Place::ClientBuffer).unwrap());
    // A client that is late for its CPU reads the first part in the midst of a pause, which is its own for so long.
    let said = format!("{paused} ns of pauses, {served} in the server's hands, {waited} unread");
    assert!(served > 0.5 * paused && served + waited > paused, "{said}");
    assert!(hop.pieces >= hop.queries, "each answer comes in parts: {} of {}", hop.pieces, hop.queries);
}

#[test]
fn pauses_between_the_parts_of_an_answer_are_the_servers_over_tcp_and_over_a_unix_socket() {
    let Some(server) = Postgres::start("") else { return };
    // A notice is sent at once.
    let sql =
        "do $$ begin raise notice 'a'; perform pg_sleep(0.004); raise notice 'b'; perform pg_sleep(0.004); end $$";
    let address = server.address("postgres");
    let at = Listens::Port(address.local_port().unwrap());
    let Some(mut wire) = followed(vec![Hop { name: "target".into(), at: at.clone() }]) else { return };
    assert_in_parts(&mut wire, at, address, sql, 8e6);
    let directory = server.directory().display().to_string().replace('/', "%2F");
    let address = Address::parse(&format!("postgres://postgres@{directory}:{}/postgres", server.port)).unwrap();
    let at = Listens::Socket(address.socket().unwrap());
    let Some(mut wire) = followed(vec![Hop { name: "target".into(), at: at.clone() }]) else { return };
    assert_in_parts(&mut wire, at, address, sql, 8e6);
}

#[test]
fn an_answer_larger_than_the_sockets_buffers_is_wholly_in_places() {
    let row = message(b'D', &[&b"\0\x01\0\x2d\xc6\xc0"[..], &vec![b'x'; 3_000_000]].concat());
    let answer = [message(b'T', b"\0\0"), row, message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    let (port, _) = server(move |stream, _| stream.write_all(&answer).is_ok());
    let hops = vec![Hop { name: "target".into(), at: Listens::Port(port) }];
    let Some(mut wire) = followed(hops.clone()) else { return };
    let address = Address::parse(&format!("postgres://a@127.0.0.1:{port}/?sslmode=disable")).unwrap();
    let workload = Workload::from_query("select x");
    let mut load = PgwireDriver::new(address, workload, Options::default()).open(1).unwrap();
    load.start().unwrap();
    let delta = second(&mut wire, &hops, None);
    let trace = load.stop(delta.span).unwrap();
    let sum: f64 = Place::ALL[1..].iter().map(|place| delta.hops[0].mean(*place).unwrap()).sum();
    let latency = trace.mean_latency().unwrap();
    assert!((sum / latency - 1.0).abs() < 0.05, "places {sum} ns, latency {latency} ns: {:?}", delta.hops[0]);
}

#[test]
fn a_notification_to_a_client_that_asks_nothing_is_in_no_place_of_a_query() {
    let Some(server) = Postgres::start("") else { return };
    let hops = vec![Hop { name: "target".into(), at: Listens::Port(server.port) }];
    let Some(mut wire) = followed(hops.clone()) else { return };
    if !wire.sends_seen() {
        return skip("this kernel does not tell of sending (6.16 and later do)");
    }
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let own = BTreeSet::from([u32::from(socket.local_addr().unwrap().port())]);
    send(&mut socket, None, b"\0\x03\0\0user\0postgres\0database\0postgres\0\0");
    until_ready(&mut socket);
    wire.start().unwrap();
    send(&mut socket, Some(b'Q'), b"listen c\0");
    until_ready(&mut socket);
    let before = wire.snapshot().unwrap();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(60));
        server.run(&["select pg_notify('c', 'x')"]);
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        assert_eq!(head[0], b'A', "a notification");
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        socket.read_exact(&mut body).unwrap();
    }
    send(&mut socket, Some(b'Q'), b"select 1\0");
    until_ready(&mut socket);
    let after = wire.snapshot().unwrap();
    wire.stop();
    let hop = &before.until(&after, &hops, true, Some(&own)).hops[0];
    assert_eq!((hop.connections, hop.queries), (1, 1));
    let asked: u64 = Place::ALL[1..].iter().map(|place| hop.stay(*place).nanos).sum();
    assert!(asked < 50_000_000 && hop.stay(Place::Client).nanos > 300_000_000, "{hop:?}");
}

/// Sends a message of the protocol.
fn send(socket: &mut TcpStream, kind: Option<u8>, body: &[u8]) {
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    socket.write_all(&message).unwrap();
}

/// Reads messages until the server is ready for the next query.
fn until_ready(socket: &mut TcpStream) {
    loop {
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        socket.read_exact(&mut body).unwrap();
        if head[0] == b'Z' {
            return;
        }
    }
}

#[test]
fn a_client_that_sends_before_it_has_read_is_recognised() {
    let Some(server) = Postgres::start("") else { return };
    let hops = vec![Hop { name: "target".into(), at: Listens::Port(server.port) }];
    let Some(mut wire) = followed(hops.clone()) else { return };
    if !wire.sends_seen() {
        return skip("this kernel does not tell of sending (6.16 and later do)");
    }
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_nodelay(true).unwrap();
    send(&mut socket, None, b"\0\x03\0\0user\0postgres\0database\0postgres\0\0");
    until_ready(&mut socket);
    wire.start().unwrap();
    let before = wire.snapshot().unwrap();
    for _ in 0..20 {
        send(&mut socket, Some(b'Q'), b"select pg_sleep(0.005)\0");
        // The server has read the first by then, and has not answered.
        std::thread::sleep(Duration::from_millis(2));
        send(&mut socket, Some(b'Q'), b"select 1\0");
        until_ready(&mut socket);
        until_ready(&mut socket);
    }
    let after = wire.snapshot().unwrap();
    wire.stop();
    let hop = &before.until(&after, &hops, wire.sends_seen(), None).hops[0];
    assert!(hop.pipelined >= 15, "{hop:?}");
}

#[test]
fn before_it_starts_and_after_it_stops_nothing_is_seen_and_a_fifth_hop_is_refused() {
    let hop = |port| Hop { name: "target".into(), at: Listens::Port(port) };
    let Some(wire) = followed(vec![hop(5432)]) else { return };
    let snapshot = wire.snapshot().unwrap();
    assert!(snapshot.hops[0].connections.is_empty());
    let refused = SocketProgram::open((1..=5).map(hop).collect()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("hops"), "{refused}");
    assert!(SocketProgram::open(Vec::new()).is_err());
}

/// A client and a server that talk on this port in a network namespace, until it is dropped.
struct TalkElsewhere {
    ended: Arc<AtomicBool>,
    talk: Option<JoinHandle<()>>,
}

impl TalkElsewhere {
    fn start(hosts: &Hosts, host: usize, port: u16) -> Self {
        let (mut client, mut server) = hosts.within(host, || {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            (client, listener.accept().unwrap().0)
        });
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let talk = std::thread::spawn(move || {
            let mut byte = [0];
            while !until.load(Ordering::Relaxed) {
                client.write_all(b"?").unwrap();
                server.read_exact(&mut byte).unwrap();
                std::thread::sleep(Duration::from_millis(2));
                server.write_all(b"!").unwrap();
                client.read_exact(&mut byte).unwrap();
            }
        });
        TalkElsewhere { ended, talk: Some(talk) }
    }
}

impl Drop for TalkElsewhere {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.talk.take().map(JoinHandle::join);
    }
}

#[test]
fn a_server_of_the_same_port_in_another_network_namespace_is_another_server() {
    let Some((_server, address, hops, mut wire)) = followed_server() else { return };
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let talk = TalkElsewhere::start(&hosts, 1, address.port());
    let clients = 2;
    let mut load =
        PgwireDriver::new(address, Workload::from_query("select pg_sleep(0.001)"), Options::default()).open(clients);
    load.as_mut().unwrap().start().unwrap();
    let delta = second(&mut wire, &hops, None);
    // The server that is meant is the one in there.
    let mut process = hosts.on(1, "sleep").arg("60").spawn().unwrap();
    while !hosts.has(1, process.id()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut there = SocketProgram::of_server(hops.clone(), Some(process.id()), None).unwrap();
    let of_there = second(&mut there, &hops, None);
    process.kill().unwrap();
    process.wait().unwrap();
    drop(talk);
    load.unwrap().stop(delta.span).unwrap();

    let (hop, other) = (&delta.hops[0], &of_there.hops[0]);
    let count = |hop: &HopDelta| (hop.connections, hop.server_seen, hop.elsewhere.map(|found| found.connections));
    assert_eq!(count(hop), (2, 2, sends(&wire, 1)), "{hop:?}");
    assert_eq!(count(other), (1, 1, sends(&wire, 2)), "{other:?}");
    let populations: f64 = Place::ALL.iter().map(|place| hop.population(*place, delta.span)).sum();
    assert!((populations - clients as f64).abs() < 0.02 * clients as f64, "{populations}");
    assert!((100..=600).contains(&other.queries), "one in 2 ms and a little: {}", other.queries);
    let sampled = |hop: &HopDelta| BTreeSet::from_iter(hop.sample.as_ref().unwrap().queries.iter().map(|q| q.client));
    assert_eq!((sampled(hop).len(), sampled(other).len()), (2, 1), "timelines are the hop's own too");
}

/// Connections elsewhere that are seen: where sending is not, nothing of theirs is.
fn sends(wire: &SocketProgram, connections: u64) -> Option<u64> {
    wire.sends_seen().then_some(connections)
}
