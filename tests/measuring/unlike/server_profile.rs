//! The CPU profile that a Go server takes of itself, over HTTP in the windows of a sweep: its function, and as much CPU
//! as the kernel accounts to it in the same seconds, and what the samples say.

use super::servers::{self, Server, free_port};
use crate::sweeps::Place;
use wireprof::profile::{ColumnKind, Profile};
use wireprof::target::Role;

/// The share of a profile's samples that have this function.
fn share(profile: &Profile, function: &str) -> f64 {
    let has = |stack| profile.walk(stack).any(|frame| profile.frames[frame.index()].name.contains(function));
    let (mut with, mut all) = (0, 0);
    for sample in &profile.samples {
        all += sample.values[0];
        with += if has(sample.stack) { sample.values[0] } else { 0 };
    }
    with as f64 / all as f64
}

#[test]
fn a_go_server_profiles_itself_in_the_window_and_tells_the_cpu_that_is_accounted_to_it() {
    let Some(program) = servers::go() else { return };
    let port = free_port().to_string();
    let server = Server::start(program, &["cpu", &port]);
    let (place, name) = (Place::new(), format!("127.0.0.1:{port}"));
    let profile = format!("http://{name}/debug/pprof/profile");
    let nothing = format!("http://me:canary@localhost:{}/debug/pprof/profile", free_port());
    let also = ["--also", &profile, "--also", &nothing, "--levels", "2", "--window", "2s", "--no-follow"];
    let fixed = ["--url", &server.url(), "--preset", "generic", "--query", "select 1", "--replicates", "1"];
    let answer = place.sweep(&[&fixed[..], &also].concat());
    assert!([0, 1].contains(&answer.code), "{}\n{}", answer.out, answer.err);
    let run = place.the_run();
    let window = &run.windows[0];
    let companion = window
        .companions
        .iter()
        .find(|own| own.process == name)
        .unwrap_or_else(|| panic!("{}\n{:?}", answer.err, window.facts.missing));
    let own = companion.server.as_ref().expect("where it comes from");
    assert_eq!(own.asked_seconds, 2);
    let seconds = own.profiled_seconds.expect("Go tells it");
    assert!((1.9..4.0).contains(&seconds) && own.overlap_seconds > 1.5, "{own:?}");
    // Nearly all that the server does is this function.
    let told = companion.profile.as_ref().unwrap();
    assert!(share(told, "main.priceOrder") > 0.5, "{:.2}", share(told, "main.priceOrder"));
    // Most of these samples are in the clock that the function reads, for which Go changes to the thread's stack.
    let sampled = window.profile.as_ref().unwrap();
    let (by_us, by_it) = (share(sampled, "main.priceOrder"), share(told, "main.priceOrder"));
    assert!((by_us - by_it).abs() < 0.15, "of the samples {by_us:.2}, by the server's own profile {by_it:.2}");
    let scheduler = window.scheduler.as_ref().unwrap();
    let accounted = scheduler.cpu(Role::Target).unwrap() as f64 / scheduler.span.nanos() as f64;
    let by_itself = told.total(told.column(&ColumnKind::Cpu).unwrap()) as f64 / 1e9 / seconds;
    // A signal's timer at 100 Hz, whose ticks come late where the CPUs are busy.
    assert!((0.6..1.4).contains(&(by_itself / accounted)), "CPUs by itself {by_itself:.2}, by account {accounted:.2}");
    let missing = window.facts.missing.iter().find(|missing| missing.what.as_str() == "server's own profile");
    let why = missing.map_or("", |missing| &missing.why);
    assert!(why.starts_with("http://me:***@localhost:"), "{:?}", window.facts.missing);
    let manifest = std::fs::read_to_string(place.runs().join(&run.manifest.id).join("manifest.json")).unwrap();
    for text in [&answer.out, &answer.err, &manifest] {
        assert!(!text.contains("canary"), "{text}");
    }
    let hot = place.run(&["hot", "--by", "total", "--process", &name]);
    assert!(hot.code == 0 && hot.out.contains("main.priceOrder"), "{}\n{}", hot.out, hot.err);
}
