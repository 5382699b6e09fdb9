//! Time by wait event, from the events of switches, against the plain way: asking `pg_stat_activity` again and again.

use super::hands::followed;
use crate::postgres::Postgres;
use crate::sweeps::is_root;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use wireprof::analyze::time::hands::Part;
use wireprof::carriers::State;
use wireprof::clock::{self, Nanos, Span};

const EVERY: Duration = Duration::from_millis(10);
/// The looks are put together in so many parts, whose scatter is theirs.
const PARTS: usize = 20;

/// Sessions by wait event at one moment; without one they are left out.
struct Look {
    at: Nanos,
    waiting: BTreeMap<String, usize>,
}

fn looks(server: &Postgres, stop: &AtomicBool) -> Vec<Look> {
    let query = "select wait_event_type || ':' || wait_event from pg_stat_activity where state = 'active' \
                 and backend_type = 'client backend' and pid <> pg_backend_pid() and wait_event is not null";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = server.address("postgres").config().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut looks = Vec::new();
        let mut ticks = tokio::time::interval(EVERY);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let asked = clock::now();
            let mut waiting = BTreeMap::new();
            for message in client.simple_query(query).await.unwrap() {
                let SimpleQueryMessage::Row(row) = message else { continue };
                *waiting.entry(row.get(0).unwrap().to_string()).or_default() += 1;
            }
            looks.push(Look { at: asked.midpoint(clock::now()), waiting });
        }
        looks
    })
}

/// Ends the looking, also where what is looked at fails: it would be waited for without end.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sessions in an event on average, and the standard error of that.
fn sampled(looks: &[&Look], event: &str) -> (f64, f64) {
    let mean = |looks: &[&Look]| {
        let sum: usize = looks.iter().map(|look| look.waiting.get(event).copied().unwrap_or(0)).sum();
        sum as f64 / looks.len() as f64
    };
    let all = mean(looks);
    let parts: Vec<f64> = looks.chunks(looks.len().div_ceil(PARTS)).map(mean).collect();
    let variance = parts.iter().map(|part| (part - all).powi(2)).sum::<f64>() / (parts.len() - 1) as f64;
    (all, (variance / parts.len() as f64).sqrt())
}

#[test]
fn time_by_wait_event_is_what_looking_every_ten_milliseconds_shows() {
    if !is_root() {
        return crate::skip::skip("following needs root");
    }
    let Some(server) = Postgres::start("fsync = on") else { return };
    server.run(&["create table hot (id int primary key, v int)", "insert into hot values (1, 0)"]);
    let stop = AtomicBool::new(false);
    let (followed, looks) = thread::scope(|scope| {
        let looking = scope.spawn(|| looks(&server, &stop));
        let followed = {
            let _stopping = Stopping(&stop);
            followed(&server.url("postgres"), "postgres", "update hot set v = v + 1 where id = 1", 32)
        };
        (followed, looking.join().unwrap())
    });
    let level = &followed.level;
    let span: Span = level.facts.carried.span;
    let looks: Vec<&Look> = looks.iter().filter(|look| span.contains(look.at)).collect();
    assert!(looks.len() > 4 * PARTS, "{} looks", looks.len());
    let sessions = |nanos: f64| nanos * level.queries as f64 / span.nanos() as f64;
    let all = |wanted: &dyn Fn(&Part) -> bool| {
        sessions(level.parts.iter().filter(|part| wanted(part)).map(|part| part.nanos).sum())
    };
    let runnable = all(&|part| part.state == State::Runnable);
    let events: BTreeSet<&String> = looks.iter().flat_map(|look| look.waiting.keys()).collect();
    let mut compared = 0;
    for event in events {
        let (mean, error) = sampled(&looks, event);
        let blocked = all(&|part| part.state == State::Blocked && part.wait_event.as_ref() == Some(event));
        println!("{event}: {blocked:.2} sessions by events, {mean:.2} ± {error:.2} by looks, {runnable:.2} ready");
        if mean.max(blocked) < 1.0 {
            continue;
        }
        compared += 1;
        // A backend that was woken and has no CPU yet is still shown to wait.
        let tolerance = 3.0 * error + 0.05 * mean;
        assert!((blocked - tolerance..=blocked + runnable + tolerance).contains(&mean), "{event}");
    }
    assert!(compared > 0, "{:#?}", level.parts);
    let waits = all(&|part| part.state == State::Blocked);
    let locks =
        all(&|part| part.state == State::Blocked && part.wait_event.iter().any(|event| event.starts_with("Lock:")));
    println!("under Lock: {:.1} % of what is waited", 100.0 * locks / waits);
}
