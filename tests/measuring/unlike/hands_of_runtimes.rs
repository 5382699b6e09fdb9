//! What carries the queries in the hands of servers whose runtimes have tasks: an old tokio, tokio on one thread and
//! with a task for each query, and Go, whose goroutines are not followed.

use super::hands::{Followed, followed, function};
use super::servers::{self, Server};
use crate::sweeps::testbed;
use wireprof::carriers::State;
use wireprof::testbed::Options;

#[test]
fn tasks_of_an_old_tokio_are_followed_by_name() {
    let Some(program) = servers::old_tokio() else { return };
    let enders = [
        ("sleep", "old_tokio::fetch_rates", "a timer"),
        ("mutex", "old_tokio::book_order", "task old_tokio::serve, in old_tokio::book_order"),
        ("channel", "old_tokio::ask_clerk", "task old_tokio::run_clerk, in old_tokio::run_clerk"),
    ];
    for (work, place, ender) in enders {
        let followed = followed(&Server::start(&program, &[work]).url(), "generic", "select 1", 16);
        followed.assert_waits(State::Waiting, place, ender);
        let carried = &followed.level.facts.carried;
        assert_eq!((carried.tasks, carried.loops), (16, 0));
        assert!(carried.unseen * 50 < carried.nanos, "{} of {} ns", carried.unseen, carried.nanos);
    }
    let followed = followed(&Server::start(&program, &["cpu"]).url(), "generic", "select 1", 4);
    assert_eq!(followed.first().state, State::Running, "{:#?}", followed.level.parts);
}

/// A testbed with a plant and these options of its runtime.
fn planted(plant: &str, arguments: &[&str]) -> Option<Followed> {
    let arguments = ["--frontend-peek"].iter().chain(arguments).map(Into::into).collect();
    let testbed = testbed(Options { plants: vec![plant.into()], arguments, ..Options::default() })?;
    Some(followed(&testbed.ready.sql, "testbed", "select * from t", 16))
}

#[test]
fn on_one_thread_each_task_is_told_by_its_name() {
    let plant = "wireprof_testbed::plant::waits::planted_mutex_lock";
    let Some(followed) = planted("mutex=300us", &["--runtime=current-thread"]) else { return };
    followed.assert_waits(State::Waiting, plant, "task connection::");
    assert_eq!(followed.level.facts.carried.tasks, 16);
    let Some(followed) = planted("timer=2ms", &["--runtime=current-thread"]) else { return };
    followed.assert_waits(State::Waiting, "wireprof_testbed::plant::waits::planted_timer_sleep", "a timer");
}

#[test]
fn a_task_of_each_query_is_joined_and_the_chain_tells_what_it_waits_for() {
    for runtime in ["--runtime=multi-thread", "--runtime=current-thread"] {
        let Some(followed) = planted("mutex=300us", &[runtime, "--task-per-query"]) else { return };
        let first = followed.first();
        assert!(function(first).ends_with("join_query_task"), "{:#?}", followed.level.parts);
        let ender = &first.ended_by.first().unwrap().0;
        assert!(ender.starts_with("task handler::query_task"), "{ender}");
        assert!(followed.chain_reaches("planted_mutex_lock"), "{:#?}", followed.level.chains);
    }
}

/// Nothing that a thread does is said of a goroutine's query, whatever the stacks of its threads.
#[test]
fn what_goroutines_wait_for_is_not_told_and_that_is_said() {
    let Some(program) = servers::go() else { return };
    for work in ["sleep", "lock", "channel"] {
        let followed = followed(&Server::start(program, &[work]).url(), "generic", "select 1", 16);
        let unseen = followed.share(|part| part.state == State::Unseen);
        assert!(unseen > 0.99, "{work}: {:#?}", followed.level.parts);
        assert_eq!(followed.level.facts.carried.moved, followed.level.facts.carried.unseen);
        let told = followed.told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("% of the time is not told: threads take over each other's queries"), "{told}");
    }
    let followed = followed(&Server::start(program, &["cpu"]).url(), "generic", "select 1", 1);
    let waits = followed.share(|part| part.state.is_wait());
    assert!(waits < 0.05, "{:#?}", followed.level.parts);
}
