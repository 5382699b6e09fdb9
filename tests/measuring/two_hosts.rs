//! The load and the target on two hosts: network namespaces with a link that delays, and a real sshd.

use crate::binaries::testbed_binary;
use crate::hosts::{ADDRESSES, Hosts};
use crate::sweeps::{Answer, Running, answer, signal};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wireprof::analyze::judge::diagnose::{Confidence, diagnose};
use wireprof::analyze::time::places::{LevelPlaces, load_places, places};
use wireprof::check::Check;
use wireprof::preset::{Cause, Preset};
use wireprof::remote::VERB;
use wireprof::run::{Run, Store};
use wireprof::testbed::{Options, Testbed};
use wireprof::wire::Place;

/// The testbed on the target's host; its administrator's port and its metrics are reached there only.
fn target(hosts: &Hosts) -> Option<Testbed> {
    let binary = Some(hosts.script(&testbed_binary()));
    let arguments = vec!["--sql-address".into(), ADDRESSES[1].into()];
    match Testbed::start(&Options { binary, arguments, ..Options::default() }) {
        Ok(testbed) => Some(testbed),
        Err(error) if format!("{error:#}").contains("no PostgreSQL server found") => {
            crate::skip::skip(format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// What every sweep here says of the target.
fn asked<'a>(testbed: &'a Testbed, host: &'a [String]) -> Vec<&'a str> {
    let ready = &testbed.ready;
    let mut arguments = vec!["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    arguments.extend(["--metrics-url", &ready.metrics, "--statements-url", &ready.postgres.url]);
    arguments.extend(["--warmup", "200ms"]);
    arguments.extend(host.iter().map(String::as_str));
    arguments
}

fn sweep(hosts: &Hosts, place: &Folder, testbed: &Testbed, arguments: &[&str]) -> Answer {
    let host = hosts.target_host();
    let all = [&["sweep"], &asked(testbed, &host)[..], arguments].concat();
    answer(hosts.wireprof(place.path(), "ssh_config", &all).output().unwrap())
}

/// A directory, where a [`Place`] is one of a query.
type Folder = crate::sweeps::Place;

/// Processes on the target's host that serve the other one.
fn serving(hosts: &Hosts) -> Vec<u32> {
    serving_on(hosts, 1)
}

/// The same on any of the hosts.
pub fn serving_on(hosts: &Hosts, host: usize) -> Vec<u32> {
    hosts.running(host, VERB)
}

fn await_none_serves(hosts: &Hosts, within: Duration) {
    await_none_serves_on(hosts, 1, within);
}

/// The same on any of the hosts.
pub fn await_none_serves_on(hosts: &Hosts, host: usize, within: Duration) {
    let deadline = Instant::now() + within;
    while !serving_on(hosts, host).is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", serving_on(hosts, host));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn level(run: &Run, level: usize) -> LevelPlaces {
    load_places(&places(run)).unwrap().levels[&level].clone()
}

/// As much of the latency as lies in no place.
fn assert_sums(run: &Run) {
    for (clients, places) in &load_places(&places(run)).unwrap().levels {
        let (sum, latency) = (places.within_latency().unwrap(), places.latency.unwrap());
        let rest = (places.residual().unwrap() / latency).abs();
        // Under 1 % on a quiet machine; here other tests run beside this one. It is the bound of the check.
        assert!(rest < 0.03, "at {clients}: places {sum:.0}, latency {latency:.0}, {rest:.4} of it in none");
        let there: f64 = places.places.iter().map(|share| share.population).sum();
        assert!((there / *clients as f64 - 1.0).abs() < 0.01, "{there} of {clients}");
    }
}

#[test]
fn a_sweep_across_two_hosts_tells_the_wire_from_the_server_and_measures_there_what_is_there() {
    // So many ms that packets are held one way; others than CI's tell how exact the network's place is then.
    let delays = std::env::var("WIREPROF_DELAYS").unwrap_or_else(|_| "1".into());
    for delay in delays.split(',').map(|millis| millis.trim().parse::<f64>().unwrap() / 1e3) {
        sweep_with(Duration::from_secs_f64(delay));
    }
}

fn sweep_with(delay: Duration) {
    let Some(hosts) = Hosts::start(delay) else { return };
    let Some(testbed) = target(&hosts) else { return };
    hosts.held.count_port(testbed.ready.sql.rsplit_once(':').unwrap().1);
    let place = Folder::new();
    let swept = sweep(&hosts, &place, &testbed, &["--levels", "1,8", "--window", "2s", "--follow", "1s", "--restore"]);
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    assert!(swept.err.contains("put back: "), "what was set there is put back: {}", swept.err);
    await_none_serves(&hosts, Duration::from_secs(2));
    let run = place.the_run();
    for clients in [1, 8] {
        let network = level(&run, clients).share(Place::Network).unwrap().mean.unwrap();
        let planted = 2.0 * hosts.held.mean();
        let over = 100.0 * (network / planted - 1.0);
        println!("at {clients}: {network:.0} ns on the network, {planted:.0} planted ({over:+.1} %)");
        // The packets' way through the devices and the readers' waking come on top.
        let besides = 0.25e6_f64.max(0.25 * planted);
        assert!((0.9 * planted..planted + besides).contains(&network), "at {clients}: {network:.0} of {planted:.0}");
    }
    assert_sums(&run);
    for window in &run.windows {
        let parts = [window.profile.is_some(), window.metrics.is_some(), window.scheduler.is_some()];
        assert_eq!(parts, [true; 3], "{:?}", window.facts.missing);
        assert!(window.statements.is_some() && window.off_cpu.is_some(), "{:?}", window.facts.missing);
        assert!(window.hands.is_some(), "{:?}", window.facts.missing);
        let clocks = window.facts.clocks.unwrap();
        assert!(
            clocks.relation.bound < 4_000_000 + delay.as_nanos() as u64
                && clocks.relation.offset.unsigned_abs() <= clocks.relation.bound,
            "{clocks:?}"
        );
        println!("{} bytes over the link for a window", clocks.bytes);
        assert!(window.checks.iter().any(|check| matches!(check, Check::HostClocks { .. })));
        let sum = window.checks.iter().find(|check| matches!(check, Check::PlacesSum { .. })).unwrap();
        assert_eq!(sum.status(), wireprof::check::Status::Pass, "{sum}");
    }
    assert!(run.manifest.load_host.is_some() && run.manifest.target.pid == Some(testbed.ready.pid));
    let explained = place.run(&["explain", "latest", "--full"]);
    for text in ["on the network, both ways", "The load and the server are on two hosts"] {
        assert!(one_line(&explained.out).contains(text), "no {text:?} in {}", explained.out);
    }
    assert_network_is_a_cause(&run, delay);
    let shown = place.run(&["explain", "latest", "--section", "setup"]).out;
    let words: Vec<&str> = shown.split_whitespace().collect();
    for text in ["from another host", "clocks of the two hosts: known to"] {
        assert!(words.join(" ").contains(text), "no {text:?} in {shown}");
    }
}

/// At one client most of the latency is the link's, where it takes a millisecond.
fn assert_network_is_a_cause(run: &Run, delay: Duration) {
    let diagnosis = diagnose(run, &Preset::built_in("testbed").unwrap(), 1).unwrap();
    let found = diagnosis.verdicts.iter().find(|verdict| verdict.cause == Cause::NetworkBetweenHosts);
    let found = found.unwrap_or_else(|| panic!("no such cause: {:#?}", diagnosis.verdicts));
    let share = found.effect.unwrap().share;
    println!("{share:.2} of the latency would go with the network: {}", found.sentence);
    if delay >= Duration::from_millis(1) {
        assert!(found.confidence == Confidence::Confident && share > 0.3, "{found:#?}");
        assert!(found.sentence.contains("That is the link itself"), "{}", found.sentence);
    }
}

/// A table's cells may go over several lines.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn somebody_elses_load_is_recorded_on_the_servers_host_and_kept_here() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let (ready, place, host) = (&testbed.ready, Folder::new(), hosts.target_host());
    let mut load = hosts.wireprof(place.path(), "ssh_config", &["sweep", "--url", &ready.sql, "--preset", "generic"]);
    load.args(["--runs", "other", "--levels", "3", "--window", "20s", "--no-sampling", "--no-wire", "--no-follow"]);
    let mut load = Running::start(load);
    load.await_line("window 1 of 1");
    std::thread::sleep(Duration::from_millis(1500));
    let mut arguments = vec!["record", "--url", &ready.sql, "--preset", "testbed", "--metrics-url", &ready.metrics];
    arguments.extend(["--divisor", "sockets", "--windows", "2", "--window", "1s"]);
    arguments.extend(host.iter().map(String::as_str));
    let recorded = answer(hosts.wireprof(place.path(), "ssh_config", &arguments).output().unwrap());
    assert!(recorded.code <= 1, "{}\n{}", recorded.out, recorded.err);
    signal(load.id(), "-INT");
    load.finish();
    let run = place.the_run();
    // The load has a connection for its set-up, too.
    assert!(run.windows.len() == 2 && run.windows[0].id().level == 4, "as many as there are connections");
    for window in &run.windows {
        assert!(window.load.completed > 100 && window.profile.is_some() && window.metrics.is_some());
        assert!(window.facts.clocks.is_none(), "nothing of it is from here");
    }
    await_none_serves(&hosts, Duration::from_secs(5));
}

/// What a refusal tells, and that nothing is left of it.
fn assert_refused(hosts: &Hosts, testbed: &Testbed, config: &str, host: &[String], told: &[&str]) {
    let (place, begun) = (Folder::new(), Instant::now());
    let arguments = [&["sweep", "--levels", "1", "--window", "500ms"], &asked(testbed, host)[..]].concat();
    let refused = answer(hosts.wireprof(place.path(), config, &arguments).output().unwrap());
    refused.assert(3, told);
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited: {:?}", begun.elapsed());
    place.assert_no_run();
    await_none_serves(hosts, Duration::from_secs(2));
}

#[test]
fn a_host_that_cannot_be_reached_without_asking_is_refused_with_the_remedy() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let [option, host, program, path] = hosts.target_host();
    let remedy = "must work without asking anything";
    let closed = [option.clone(), host.replace(":2222", ":2223"), program.clone(), path.clone()];
    assert_refused(&hosts, &testbed, "ssh_config", &closed, &["Connection refused", remedy]);
    let here = [option.clone(), host.clone(), program.clone(), path];
    assert_refused(&hosts, &testbed, "no_key", &here, &["Permission denied", remedy]);
    let absent = [option, host, program, "/no/wireprof".into()];
    assert_refused(&hosts, &testbed, "ssh_config", &absent, &["there is no program /no/wireprof there", "--target-"]);
}

#[test]
fn whichever_side_is_killed_finished_windows_are_kept_and_nothing_is_left_on_the_other() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let host = hosts.target_host();
    let windows = ["sweep", "--levels", "1", "--replicates", "20", "--window", "500ms", "--no-follow"];
    let arguments = [&windows, &asked(&testbed, &host)[..]].concat();
    let frontend = || value_there(&hosts, &testbed);
    let before = frontend();
    for victim in ["here", "ssh", "there"] {
        let place = Folder::new();
        let mut running = Running::start(hosts.wireprof(place.path(), "ssh_config", &arguments));
        running.await_line("[2/20]");
        match victim {
            "there" => signal(serving(&hosts)[0], "-9"),
            "here" => signal(running.id(), "-9"),
            _ => signal(child_called(running.id(), "ssh").unwrap(), "-9"),
        }
        let ended = running.finish();
        await_none_serves(&hosts, Duration::from_secs(10));
        let stored = Store::new(place.runs()).load("latest").unwrap();
        assert!((2..20).contains(&stored.windows.len()), "{}", ended.err);
        if victim != "here" {
            let told =
                ["the link to ssh://10.213.0.2:2222 is down", "finished windows are kept", "was put back on ssh"];
            ended.assert(1, &told);
        }
        place.assert_no_temporary();
        if victim != "there" {
            assert_eq!(frontend(), before, "what was set is put back by the side that lives");
        }
    }
}

/// Which side is killed, and when: so long after the beginning, or after what is told last before. All of it follows
/// from a number.
fn picked(seed: u64) -> (&'static str, Option<&'static str>, Duration) {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let victim = ["here", "ssh", "there"][random.random_range(0..3)];
    // While it prepares, in the first window, or later: most of a run is there.
    let told = [None, Some("window 1 of 20"), Some("[1/20]"), Some("[2/20]")][random.random_range(0..4)];
    (victim, told, Duration::from_millis(random.random_range(0..4_000)))
}

/// `WIREPROF_KILLS=N` takes N moments, `WIREPROF_SEED=SEED` the first one by this number.
#[test]
fn whenever_a_side_is_killed_what_was_told_is_kept_and_nothing_is_left() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = number("WIREPROF_SEED").unwrap_or_else(|| now() % 1_000_000);
    for seed in first..first + number("WIREPROF_KILLS").unwrap_or(1) {
        let (victim, told, after) = picked(seed);
        println!("WIREPROF_SEED={seed}: {victim} is killed {after:?} after {}", told.unwrap_or("the beginning"));
        killed(&hosts, &testbed, victim, told, after);
    }
}

/// One moment; the process of the other side is awaited where it is too early for it.
fn killed(hosts: &Hosts, testbed: &Testbed, victim: &str, told: Option<&str>, after: Duration) {
    let (host, place, before) = (hosts.target_host(), Folder::new(), value_there(hosts, testbed));
    let windows = ["sweep", "--levels", "1", "--replicates", "20", "--window", "500ms", "--no-follow"];
    let arguments = [&windows, &asked(testbed, &host)[..]].concat();
    let mut running = Running::start(hosts.wireprof(place.path(), "ssh_config", &arguments));
    if let Some(told) = told {
        running.await_line(told);
    }
    std::thread::sleep(after);
    let pid = match victim {
        "here" => Some(running.id()),
        "ssh" => awaited(|| child_called(running.id(), "ssh")),
        _ => awaited(|| serving(hosts).first().copied()),
    };
    signal(pid.unwrap(), "-9");
    let ended = running.finish();
    await_none_serves(hosts, Duration::from_secs(35));
    let told = (1..=20).filter(|window| ended.err.contains(&format!("[{window}/20]"))).count();
    let stored = place.runs().exists().then(|| Store::new(place.runs()).load("latest").ok()).flatten();
    let kept = stored.map_or(0, |run| run.windows.len());
    println!("{told} windows were told, {kept} are kept; exit code {}", ended.code);
    assert!(kept >= told, "{kept} of {told} windows are kept\n{}", ended.err);
    if victim == "here" {
        assert_eq!(value_there(hosts, testbed), before, "the other side puts back what it set");
        return;
    }
    assert!([1, 3].contains(&ended.code), "{}: {}", ended.code, ended.err);
    if place.runs().exists() {
        place.assert_no_temporary();
    }
    let after = value_there(hosts, testbed);
    if victim == "ssh" {
        assert_eq!(after, before, "the other side puts back what it set: {}", ended.err);
    } else if after != before {
        assert!(ended.err.contains("was put back on ssh"), "it is not told: {}", ended.err);
        administer(hosts, testbed, &format!("alter system set {PARAMETER} = {}", before.trim()));
    }
}

/// What is there within some seconds.
fn awaited<T>(what: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match what() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            found => return found,
        }
    }
}

/// What the preset sets, as the server shows it.
fn value_there(hosts: &Hosts, testbed: &Testbed) -> String {
    administer(hosts, testbed, &format!("show {PARAMETER}"))
}

const PARAMETER: &str = "enable_frontend_peek_sequencing";

fn administer(hosts: &Hosts, testbed: &Testbed, sql: &str) -> String {
    let mut psql = hosts.on(1, "psql");
    psql.args([&testbed.ready.internal, "-Atc", sql]);
    let output = psql.output().expect("PostgreSQL's client is installed with its server");
    String::from_utf8(output.stdout).unwrap()
}

fn child_called(parent: u32, name: &str) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let called = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(called)
}

#[test]
fn a_link_that_is_cut_for_seconds_is_waited_for() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let (place, host) = (Folder::new(), hosts.target_host());
    let windows = ["sweep", "--levels", "1", "--replicates", "2", "--window", "2s", "--no-follow", "--full"];
    let arguments = [&windows, &asked(&testbed, &host)[..]].concat();
    let mut running = Running::start(hosts.wireprof(place.path(), "ssh_config", &arguments));
    running.await_line("window 2 of 2");
    hosts.held.cut.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(5));
    hosts.held.cut.store(false, Ordering::Relaxed);
    let ended = running.finish();
    assert!(ended.code <= 1 && !ended.err.contains("is down"), "{}\n{}", ended.out, ended.err);
    assert_eq!(place.the_run().windows.len(), 2);
    await_none_serves(&hosts, Duration::from_secs(5));
}

#[test]
fn a_copy_of_wireprof_is_put_there_and_taken_away() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let place = Folder::new();
    let [option, host, ..] = hosts.target_host();
    let there = [option, host, "--clean".into()];
    let windows = ["sweep", "--levels", "1", "--window", "500ms", "--no-follow"];
    let arguments = [&windows, &asked(&testbed, &there)[..]].concat();
    let swept = answer(hosts.wireprof(place.path(), "ssh_config", &arguments).output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    assert!(swept.err.contains("copying wireprof to ssh://10.213.0.2:2222"), "{}", swept.err);
    // That host has its files in common with this one. The checksum that ends a copy's name is not known here.
    let programs = std::env::home_dir().unwrap().join(".cache/wireprof/programs");
    let length = std::fs::metadata(crate::binaries::WIREPROF).unwrap().len();
    let name = format!("wireprof-{}-{length:x}-", env!("CARGO_PKG_VERSION"));
    let left = std::fs::read_dir(programs).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|left| left.to_string_lossy().starts_with(&name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// As a container does that is asked by its own address: its process is of this host, the address is not.
#[test]
fn a_server_in_another_network_namespace_whose_process_is_given_is_followed_at_both_ends() {
    let Some(hosts) = Hosts::start(Duration::from_millis(2)) else { return };
    let Some(testbed) = target(&hosts) else { return };
    let (place, pid) = (Folder::new(), testbed.ready.pid.to_string());
    let server = ["sweep", "--preset", "generic", "--url", &testbed.ready.sql, "--pid", &pid];
    let load = ["--query", "select 1", "--levels", "4", "--window", "1s", "--no-follow", "--no-sampling"];
    let swept = answer(hosts.wireprof(place.path(), "ssh_config", &[&server[..], &load].concat()).output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    let run = place.the_run();
    let Some(wire) = &run.windows[0].wire else { return crate::skip::skip("the sockets cannot be followed here") };
    let hop = wire.load().unwrap();
    assert_eq!((hop.connections, hop.client_seen, hop.server_seen), (4, 4, 4), "{hop:?}");
    assert_eq!(hop.others.map(|others| others.connections), Some(0));
    if wire.sends_seen {
        let network = hop.mean(Place::Request).unwrap() + hop.mean(Place::Response).unwrap();
        assert!(network > 3.5e6, "2 ms each way: {network} ns of {hop:?}");
    }
}
