//! A load that two other hosts drive: network namespaces with a real sshd in each; the server is on the conductor's.

use crate::binaries::{WIREPROF, testbed_binary};
use crate::hosts::{ADDRESSES, Hosts};
use crate::sweeps::{Answer, Place as Folder, Running, answer, signal};
use std::time::{Duration, Instant};
use wireprof::analyze::time::places::{load_places, places};
use wireprof::check::{Check, Status};
use wireprof::remote::LOAD_VERB;
use wireprof::run::{Run, Window};
use wireprof::testbed::{Options, Testbed};
use wireprof::wire::Place;

/// The testbed on a host.
fn target(hosts: &Hosts, on: usize) -> Option<Testbed> {
    let binary = Some(hosts.script_on(on, &testbed_binary()));
    let arguments = vec!["--sql-address".into(), ADDRESSES[on].into()];
    match Testbed::start(&Options { binary, arguments, ..Options::default() }) {
        Ok(testbed) => Some(testbed),
        Err(error) if format!("{error:#}").contains("no PostgreSQL server found") => {
            crate::skip::skip(format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

fn load_hosts(hosts: &Hosts, on: &[usize]) -> Vec<String> {
    let named = on.iter().flat_map(|host| ["--load-host".to_string(), hosts.url(*host)]);
    named.chain(["--load-program".into(), WIREPROF.into()]).collect()
}

/// A sweep of the testbed, whose load these hosts drive.
fn asked<'a>(testbed: &'a Testbed, hosts: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let ready = &testbed.ready;
    let mut arguments = vec!["sweep", "--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    arguments.extend(["--metrics-url", &ready.metrics, "--statements-url", &ready.postgres.url]);
    arguments.extend(["--warmup", "200ms", "--no-follow"]);
    arguments.extend(hosts.iter().map(String::as_str));
    arguments.extend(more);
    arguments
}

/// Processes on a host that drive load for another.
fn driving(hosts: &Hosts, host: usize) -> Vec<u32> {
    hosts.running(host, LOAD_VERB)
}

fn await_none_drives(hosts: &Hosts, within: Duration) {
    let deadline = Instant::now() + within;
    let left = || [1, 2].map(|host| driving(hosts, host)).concat();
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", left());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run(hosts: &Hosts, place: &Folder, arguments: &[&str]) -> Answer {
    answer(hosts.wireprof(place.path(), "ssh_config", arguments).output().unwrap())
}

/// What is counted on the hosts is all that is counted, in sums, slices and latencies.
fn assert_sums(window: &Window) {
    let load = &window.load;
    let by_host: u64 = load.hosts.iter().map(|host| host.completed).sum();
    let by_slice: u64 = load.slices.iter().map(|slice| slice.completed).sum();
    let latencies: u64 = load.slices.iter().map(|slice| slice.latency.as_ref().unwrap().len()).sum();
    assert!(load.completed > 100, "{} queries", load.completed);
    assert_eq!([by_host, by_slice, latencies, load.latency.len()], [load.completed; 4]);
    let sum: u64 = load.hosts.iter().map(|host| host.latency_sum.unwrap()).sum();
    assert_eq!(Some(sum), load.latency_sum);
    assert_eq!(load.throughput(), load.completed as f64 / load.span.seconds());
    assert_eq!(load.span, window.facts.span, "by the target's clock");
    // What the server's own metrics counted is the same window; queries under way at its ends differ.
    let connections: usize = load.hosts.iter().map(|host| host.connections).sum();
    assert_eq!([connections, load.sessions.opened as usize], [load.connections; 2]);
    assert_eq!(load.connections, window.id().level);
}

/// Each host has its own checks, and what is known of its clock.
fn assert_checked(window: &Window, hosts: &[String]) {
    for host in hosts {
        let own = || {
            window.checks.iter().filter_map(|check| match check {
                Check::OfLoadHost { host: of, check } if of == host => Some(check.as_ref()),
                _ => None,
            })
        };
        assert!(own().any(|check| matches!(check, Check::GeneratorCpu { .. })), "{host}: {:?}", window.checks);
        assert!(own().any(|check| matches!(check, Check::MachineBusy { .. })), "{host}: {:?}", window.checks);
        let clocks = own().find(|check| matches!(check, Check::HostClocks { .. })).unwrap();
        assert_eq!(clocks.status(), Status::Pass, "{clocks}");
        let Check::HostClocks { bound, offset, .. } = clocks else { unreachable!() };
        assert!(offset.unsigned_abs() <= *bound, "the clocks of namespaces are one: {clocks}");
    }
}

/// The places of the clients of all hosts sum to their latency.
fn assert_places(run: &Run) {
    for (clients, level) in &load_places(&places(run)).unwrap().levels {
        let rest = (level.residual().unwrap() / level.latency.unwrap()).abs();
        assert!(rest < 0.03, "at {clients}: {rest:.4} of the latency in no place");
        let there: f64 = level.places.iter().map(|share| share.population).sum();
        assert!((there / *clients as f64 - 1.0).abs() < 0.02, "{there} of {clients}");
        assert!(level.share(Place::Network).unwrap().mean.unwrap() > 0.0);
    }
}

#[test]
fn two_hosts_drive_the_load_and_what_they_count_adds_up() {
    let Some(hosts) = Hosts::start_of(3, Duration::from_micros(300)) else { return };
    let Some(testbed) = target(&hosts, 0) else { return };
    let (place, named) = (Folder::new(), load_hosts(&hosts, &[1, 2]));
    let swept = run(&hosts, &place, &asked(&testbed, &named, &["--levels", "1,5", "--window", "1s"]));
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    await_none_drives(&hosts, Duration::from_secs(2));
    let run = place.the_run();
    let urls = [hosts.url(1), hosts.url(2)];
    for window in &run.windows {
        let divided: Vec<_> = window.load.hosts.iter().map(|of| (of.host.clone(), of.connections)).collect();
        let expected = match window.id().level {
            1 => vec![(urls[0].clone(), 1)],
            _ => vec![(urls[0].clone(), 3), (urls[1].clone(), 2)],
        };
        assert_eq!(divided, expected);
        assert_sums(window);
        let bytes: Vec<u64> = window.load.hosts.iter().map(|of| of.bytes).collect();
        let bounds: Vec<u64> = window.load.hosts.iter().map(|of| of.clocks.bound).collect();
        println!("{} queries, {bytes:?} bytes over the links, clocks to {bounds:?} ns", window.load.completed);
        assert_checked(window, &expected.into_iter().map(|(host, _)| host).collect::<Vec<_>>());
        let parts = [window.profile.is_some(), window.metrics.is_some(), window.scheduler.is_some()];
        assert_eq!(parts, [true; 3], "{:?}", window.facts.missing);
        let (hop, counted) = (window.wire.as_ref().unwrap().load().unwrap(), window.load.at_sockets.unwrap());
        // The clients' ends of both hosts: what they sent while they were followed is what was counted meanwhile.
        let apart = hop.queries.abs_diff(counted.completed) as f64;
        assert!(hop.ways_together, "{:?}", window.facts.missing);
        assert!(
            apart <= 10.0 + 0.05 * counted.completed as f64,
            "{} sent, {} answered",
            hop.queries,
            counted.completed
        );
    }
    assert_places(&run);
    assert_eq!(run.manifest.load_hosts.iter().map(|of| of.address.clone()).collect::<Vec<_>>(), urls);
    assert!(run.manifest.load_host.is_none());
    let shown = place.run(&["explain", "latest", "--section", "setup"]).out;
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in
        ["from 2 load hosts", "load host ssh://10.213.0.3:2222: 2 clients at most", "at 1 clients only the first"]
    {
        assert!(words.contains(text), "no {text:?} in {shown}");
    }
}

#[test]
fn what_is_another_server_on_each_host_or_cannot_be_divided_is_refused_before_anything_is_started() {
    let place = Folder::new();
    let refused = |more: &[&str], told: &str| {
        let begins = ["sweep", "--preset", "generic", "--levels", "3", "--load-host", "ssh://nowhere.invalid"];
        place.run(&[&begins, more].concat()).assert(2, &[told]);
        place.assert_no_run();
    };
    let (here, there) = ("postgres://u@localhost:1/d", "postgres://u@192.0.2.1:1/d");
    refused(&["--url", here, "--query", "select 1"], "an address of the server that all load hosts reach");
    refused(&["--url", there, "--workload", "builtin:select-only"], "cannot be divided over load hosts");
    refused(&["--url", there, "--query", "x", "--observer-cost"], "--observer-cost measures on one host");
    refused(&["--url", there, "--query", "x", "--driver", "dbbench=/bin/true"], "wireprof's own load");
    refused(&["--testbed"], "cannot be used with");
    refused(&["--url", there, "--query", "x", "--clean", "--load-program", "/x"], "cannot be used with");
}

#[test]
fn a_load_host_that_is_killed_ends_the_window_and_nothing_is_left_on_any_host() {
    let Some(hosts) = Hosts::start_of(3, Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts, 0) else { return };
    let (place, named) = (Folder::new(), load_hosts(&hosts, &[1, 2]));
    let more = ["--levels", "4", "--replicates", "20", "--window", "500ms", "--restore"];
    let mut running = Running::start(hosts.wireprof(place.path(), "ssh_config", &asked(&testbed, &named, &more)));
    running.await_line("[2/20]");
    // In the middle of a window: its warm-up takes 200 ms.
    std::thread::sleep(Duration::from_millis(400));
    signal(driving(&hosts, 2)[0], "-9");
    let ended = running.finish();
    ended.assert(1, &["the link to ssh://10.213.0.3:2222 is down", "finished windows are kept", "put back: "]);
    await_none_drives(&hosts, Duration::from_secs(5));
    let stored = wireprof::run::Store::new(place.runs()).load("latest").unwrap();
    assert!((1..20).contains(&stored.windows.len()), "{}", ended.err);
    stored.windows.iter().for_each(assert_sums);
    place.assert_no_temporary();
}

#[test]
fn a_load_host_goes_with_a_target_on_another_host() {
    let Some(hosts) = Hosts::start_of(3, Duration::from_micros(300)) else { return };
    let Some(testbed) = target(&hosts, 1) else { return };
    let (place, there) = (Folder::new(), hosts.target_host());
    let named = [load_hosts(&hosts, &[2]), there.to_vec()].concat();
    let swept = run(&hosts, &place, &asked(&testbed, &named, &["--levels", "2", "--window", "1s"]));
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    await_none_drives(&hosts, Duration::from_secs(2));
    let run = place.the_run();
    assert_places(&run);
    for window in &run.windows {
        assert_sums(window);
        assert_checked(window, &[hosts.url(2)]);
        assert!(window.profile.is_some() && window.metrics.is_some(), "{:?}", window.facts.missing);
    }
}
