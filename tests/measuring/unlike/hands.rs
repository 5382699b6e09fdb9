//! What carries the queries in the server's hands, on servers with a thread or a process for each connection: plain C
//! with a bottleneck of known kind and place, and PostgreSQL. The sockets are the judge of the sum.

use super::servers::{self, Server};
use crate::postgres::Postgres;
use crate::sweeps::Place;
use wireprof::analyze::time::hands::{LevelHands, Part, Step, hands};
use wireprof::carriers::State;
use wireprof::preset::Preset;
use wireprof::profile::{OBSERVER, short_name};
use wireprof::run::Run;

/// What was followed at one level, and what `explain` says of it.
pub struct Followed {
    pub level: LevelHands,
    pub told: String,
    /// What `diagnose` says.
    pub diagnosis: String,
}

/// Sweeps at one level, for a window that is enough to be one, and follows for one and a half seconds.
pub fn followed(url: &str, preset: &str, query: &str, level: usize) -> Followed {
    followed_in(&Place::new(), url, preset, query, level)
}

fn followed_in(place: &Place, url: &str, preset: &str, query: &str, level: usize) -> Followed {
    let levels = level.to_string();
    let fixed = ["--window", "500ms", "--follow", "1500ms", "--no-setup", "--levels", &levels, "--query", query];
    let answer = place.sweep(&[&["--url", url, "--preset", preset], &fixed[..]].concat());
    assert!([0, 1].contains(&answer.code), "{}\n{}", answer.out, answer.err);
    let (preset, run) = (Preset::load(preset).unwrap(), place.the_run());
    assert_without_observer(&run);
    let level = hands(&run, &preset).remove(&level).unwrap_or_else(|| panic!("nothing: {}", answer.err));
    let told = place.run(&["explain", "latest", "--full"]).out;
    let diagnosis = place.run(&["diagnose", "latest"]).out;
    let followed = Followed { level, told, diagnosis };
    followed.assert_sums();
    followed
}

/// Stacks are taken by a program of the kernel's; its own functions are on none of them.
fn assert_without_observer(run: &Run) {
    for window in &run.windows {
        let waits = window.off_cpu.iter().filter_map(|off_cpu| off_cpu.profile.as_ref());
        let stacks = window.hands.iter().filter_map(|hands| hands.stacks.as_ref());
        let mut frames = waits.chain(stacks).flat_map(|profile| &profile.frames);
        let own = frames.find(|frame| frame.module == OBSERVER || frame.name.starts_with("bpf_prog_"));
        assert!(own.is_none(), "{own:?}");
    }
}

impl Followed {
    /// Rows sum to the time in hand, and that is what the sockets saw in the same seconds; waits have whole stacks, and
    /// somebody ended each; nobody waits for the client.
    fn assert_sums(&self) {
        let (facts, carried) = (&self.level.facts, &self.level.facts.carried);
        assert_eq!(carried.rows.values().map(|sum| sum.nanos).sum::<u64>(), carried.nanos);
        let parts: f64 = self.level.parts.iter().map(|part| part.nanos).sum();
        assert!((parts / self.level.nanos - 1.0).abs() < 1e-9, "{parts} of {}", self.level.nanos);
        let sockets = facts.at_sockets.expect("the sockets were followed");
        let by_sockets = sockets.nanos as f64 / sockets.span as f64;
        let ratio = carried.nanos as f64 / carried.span.nanos() as f64 / by_sockets;
        assert!((0.98..1.02).contains(&ratio), "{ratio} of what the sockets saw: {facts:#?}");
        assert!(facts.complete.is_none_or(|share| share > 0.99), "stacks: {:?}", facts.complete);
        assert!(facts.ended.is_none_or(|share| share > 0.98), "who ended waits: {:?}", facts.ended);
        let of_client = ["secure_read", "secure_raw_read", "SocketBackend", "PostgresMain", "serve", "serve_once"];
        let wrong = self.level.parts.iter().find(|part| of_client.contains(&function(part).as_str()));
        assert!(wrong.is_none(), "the client is waited for: {wrong:#?}");
    }

    /// The longest part, but for want of a CPU: others may use the machine.
    pub fn first(&self) -> &Part {
        let parts = &self.level.parts;
        parts.iter().find(|part| part.state != State::Runnable).expect("there is a part")
    }

    /// The share of the time in hand of the parts that this holds for.
    pub fn share(&self, of: impl Fn(&Part) -> bool) -> f64 {
        self.level.parts.iter().filter(|part| of(part)).map(|part| part.nanos).sum::<f64>() / self.level.nanos
    }

    /// The longest part is a wait in this function, and mostly it is ended so.
    pub fn assert_waits(&self, state: State, place: &str, ended_by: &str) {
        let first = self.first();
        let ender = first.ended_by.first().map_or("", |(who, _)| who);
        let right = (first.state, function(first).as_str()) == (state, place) && ender.contains(ended_by);
        assert!(right, "{state:?} in {place}, ended by {ended_by}: {:#?}", self.level.parts);
    }

    /// Along the heaviest branches of the chains somebody is in this function.
    pub fn chain_reaches(&self, place: &str) -> bool {
        let mut step = self.level.chains.first();
        while let Some(at) = step {
            if is_in(at, place) {
                return true;
            }
            step = at.children.first();
        }
        false
    }
}

fn is_in(step: &Step, place: &str) -> bool {
    step.function.as_ref().is_some_and(|function| short_name(&function.name).ends_with(place))
}

/// The short name of the function where a part waits.
pub fn function(part: &Part) -> String {
    part.function.as_ref().map_or_else(String::new, |function| short_name(&function.name))
}

/// The server in C of this kind, doing this.
fn in_c(kind: &str, work: &str, level: usize) -> Option<Followed> {
    let server = Server::start(servers::c()?, &[kind, work]);
    let place = Place::new();
    let preset = servers::with_children(&place);
    Some(followed_in(&place, &server.url(), &preset, "select 1", level))
}

#[test]
fn cpu_of_threads_is_running_and_nothing_is_waited_for() {
    let Some(followed) = in_c("threads", "cpu", 4) else { return };
    assert_eq!(followed.first().state, State::Running);
    let waits = followed.share(|part| part.state == State::Blocked);
    assert!(waits < 0.05, "{waits} of it: {:#?}", followed.level.parts);
    assert!(followed.told.contains("runs on a CPU"), "{}", followed.told);
}

#[test]
fn a_mutex_is_waited_for_where_it_is_taken_until_another_thread_or_process_leaves_it() {
    for kind in ["threads", "processes"] {
        let Some(followed) = in_c(kind, "lock", 16) else { return };
        followed.assert_waits(State::Blocked, "book_order", "a thread, in book_order");
        assert!(followed.share(|part| function(part) == "book_order") > 0.5, "{:#?}", followed.level.parts);
        assert!(followed.chain_reaches("book_order"));
    }
}

#[test]
fn a_sleep_is_ended_by_a_timer_of_the_kernel() {
    for kind in ["threads", "loop"] {
        let Some(followed) = in_c(kind, "sleep", 16) else { return };
        followed.assert_waits(State::Blocked, "fetch_rates", "an interrupt");
        assert!(followed.share(|part| function(part) == "fetch_rates") > 0.5, "{:#?}", followed.level.parts);
    }
}

#[test]
fn a_backend_waits_for_a_row_until_the_one_that_has_it_commits() {
    let Some(server) = Postgres::start("fsync = on") else { return };
    server
        .run(&["create table t (id int primary key, v int)", "insert into t select n, 0 from generate_series(1, 9) n"]);
    let reads = followed(&server.url("postgres"), "postgres", "select v from t where id = 7", 8);
    assert_eq!(reads.first().state, State::Running, "{:#?}", reads.level.parts);
    let updates = followed(&server.url("postgres"), "postgres", "update t set v = v + 1 where id = 7", 32);
    updates.assert_waits(State::Blocked, "XactLockTableWait", "a thread, in ");
    assert!(updates.share(|part| function(part) == "XactLockTableWait") > 0.3, "{:#?}", updates.level.parts);
    // The text goes on in the next line where it must.
    let said = updates.diagnosis.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("The locks are of public.t ("), "{}", updates.diagnosis);
}

#[test]
fn commits_wait_for_the_flush_of_the_log() {
    let Some(server) = Postgres::start("fsync = on") else { return };
    server.run(&["create table t (v int)"]);
    let commits = followed(&server.url("postgres"), "postgres", "insert into t values (1)", 16);
    let waits = |part: &&Part| part.state.is_wait();
    let first = commits.level.parts.iter().find(waits).map(function);
    assert_eq!(first.as_deref(), Some("XLogFlush"), "{:#?}", commits.level.parts);
}

#[test]
fn through_a_unix_socket_queries_are_followed_as_over_tcp() {
    let Some(server) = Postgres::start("fsync = on") else { return };
    server.run(&["create table t (id int primary key, v int)", "insert into t values (7, 0)"]);
    let directory = server.directory().display().to_string().replace('/', "%2F");
    let url = format!("postgres://postgres@{directory}:{}/postgres", server.port);
    let updates = followed(&url, "postgres", "update t set v = v + 1 where id = 7", 16);
    updates.assert_waits(State::Blocked, "XactLockTableWait", "a thread, in ");
}
