//! Code that a runtime generates has the names of the map that it writes, and owns what it does.

use super::servers::{self, Server};
use crate::sweeps::Place;
use wireprof::profile::Profile;

fn share(profile: &Profile, name: &str) -> f64 {
    let has = |stack| profile.walk(stack).any(|frame| profile.frames[frame.index()].name == name);
    let weight = |counts: &dyn Fn(Option<_>) -> bool| -> i64 {
        profile.samples.iter().filter(|sample| counts(sample.stack)).map(|sample| sample.values[0]).sum()
    };
    weight(&has) as f64 / weight(&|_| true) as f64
}

#[test]
fn generated_code_has_the_names_of_the_runtimes_map() {
    let Some(program) = servers::c() else { return };
    let server = Server::start(program, &["threads", "generated"]);
    let map = std::path::PathBuf::from(format!("/tmp/perf-{}.map", server.pid()));
    let place = Place::new();
    let fixed = ["--preset", "generic", "--query", "select 1", "--levels", "2", "--replicates", "1", "--no-follow"];
    let answer = place.sweep(&[&["--url", &server.url(), "--window", "1s"], &fixed[..]].concat());
    let hot = place.run(&["hot"]);
    drop(server);
    std::fs::remove_file(map).unwrap();
    assert!([0, 1].contains(&answer.code), "{}\n{}", answer.out, answer.err);
    let run = place.the_run();
    let profile = run.windows[0].profile.as_ref().unwrap();
    let (generated, caller) = (share(profile, "JS:price_generated"), share(profile, "use_generated"));
    assert!(generated > 0.3, "{generated:.2}\n{}", hot.out);
    assert!((generated - caller).abs() < 0.05, "its caller is found: {generated:.2} {caller:.2}");
    assert!(hot.code == 0 && hot.out.contains("JS:price_generated"), "it owns what it does\n{}", hot.out);
}
