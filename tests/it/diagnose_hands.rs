//! What queries wait for in the server's hands, from constructed runs in which carriers were followed: the wait is
//! named with its size and its chain, and what other findings say more precisely is said once.

use crate::build;
use crate::build::carried::{HandsBuilder, WORKER, behind};
use crate::diagnose_waits::{Made, plain};
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Finding, diagnose};
use wireprof::carriers::{State, Who};
use wireprof::preset::{Cause, Preset};
use wireprof::run::{Hands, Window};

const REQUEST: &str = "poll;app::request;tokio::sync::oneshot::Receiver::poll";

/// A query waits so long for a worker task, which sleeps for most of that and computes for the rest.
fn channel(queries: u64, sleep: f64, work: f64) -> HandsBuilder {
    let slept = behind(Who::Interrupt, State::Outside, "", sleep, vec![]);
    let chain = [
        behind(WORKER, State::Waiting, "poll;app::Worker::run;app::nap", sleep, vec![slept]),
        behind(WORKER, State::Running, "", work, vec![]),
    ];
    HandsBuilder::new(queries).part(State::Waiting, REQUEST, sleep + work, None, &chain)
}

/// A window whose queries are in hand for the CPU's time and this wait.
fn window(clients: usize, waited: f64, hands: HandsBuilder) -> Window {
    let made = Made { waits: vec![("app::elsewhere;wait4", waited)], ..plain(clients) };
    let mut window = made.window();
    window.off_cpu = None;
    window.hands = Some(hands.finish());
    window
}

fn diagnosed(windows: Vec<Window>, level: usize) -> Diagnosis {
    diagnose(&build::run(windows), &Preset::built_in("generic").unwrap(), level).unwrap()
}

fn first(found: &Diagnosis) -> &Finding {
    let first = &found.verdicts[0];
    assert_eq!(first.confidence, Confidence::Confident, "{:#?}", found.verdicts);
    first
}

#[test]
fn a_wait_is_named_with_its_chain_its_growth_and_what_goes_with_it() {
    let one = channel(100, 190.0, 10.0).part(State::Running, "", 30.0, None, &[]);
    // Probes made the followed seconds twice as slow: shares count.
    let many = channel(100, 5_700.0, 300.0).part(State::Running, "", 60.0, None, &[]);
    let found = diagnosed(vec![window(1, 200.0, one), window(16, 3_000.0, many)], 16);
    let first = first(&found);
    assert_eq!(first.cause, Cause::Wait, "{:#?}", found.verdicts);
    let expected = "At 16 clients a query waits 3.00 ms in request, of 3.03 ms in the server's hands, until task \
                    Worker::run ends it; that one spends 2.85 ms of it waiting in nap, until an interrupt (a device, a \
                    timer or a packet) ends that. At 1 client the wait is 200 µs of 230 µs.";
    assert_eq!(first.sentence, expected);
    let named: Vec<&str> = first.named.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(named, ["app::request", "app::nap"]);
    let effect = first.effect.unwrap().latency / 1e6;
    // Without it 16 clients queue for the CPUs: 35 us of work a query on two of them.
    assert!((effect - 2.76).abs() < 0.03, "{effect} ms of 3.04 ms");
    let left = found.left.unwrap();
    assert!((0.0..0.1).contains(&left), "{left} left");
}

#[test]
fn a_timer_takes_as_long_under_probes_as_without_and_all_else_is_a_share_of_what_it_leaves() {
    // Of 530 us in the window's hands the timer leaves 330, of 1,200 us followed 1,000.
    let timer = [behind(Who::Interrupt, State::Outside, "", 200.0, vec![])];
    let work = [behind(WORKER, State::Running, "", 700.0, vec![])];
    let hands = HandsBuilder::new(100)
        .part(State::Waiting, "poll;app::sleep", 200.0, None, &timer)
        .part(State::Waiting, "poll;app::request", 700.0, None, &work)
        .part(State::Running, "", 300.0, None, &[]);
    let found = diagnosed(vec![window(1, 500.0, hands)], 1);
    let waits = found.verdicts.iter().filter(|verdict| verdict.cause == Cause::Wait);
    let named: Vec<_> = waits.map(|wait| (wait.named[0].name.as_str(), wait.named[0].cost.round() as u64)).collect();
    assert_eq!(named, [("app::request", 231_000), ("app::sleep", 200_000)], "{:#?}", found.verdicts);
}

#[test]
fn what_is_ready_behind_a_wait_is_contention_and_no_delay_of_its_own() {
    let chain =
        [behind(WORKER, State::Runnable, "", 1_500.0, vec![]), behind(WORKER, State::Running, "", 500.0, vec![])];
    let hands = HandsBuilder::new(100).part(State::Waiting, REQUEST, 2_000.0, None, &chain);
    let found = diagnosed(vec![window(1, 2_000.0, hands.part(State::Running, "", 30.0, None, &[]))], 1);
    let wait = found.verdicts.iter().find(|verdict| verdict.cause == Cause::Wait).unwrap();
    let effect = wait.effect.unwrap().latency / 1e3;
    assert!((effect - 500.0).abs() < 10.0, "{effect} us of 500 us");
    assert!(wait.sentence.contains("that one spends 500 µs of it on a CPU"), "{}", wait.sentence);
}

#[test]
fn ready_tasks_that_nobody_polls_are_a_cause_of_their_own_with_who_holds_the_workers() {
    let hands = HandsBuilder::new(100).part(State::Queued, "", 500.0, None, &[]);
    let mut made = Made { waits: vec![("app::elsewhere;wait4", 500.0)], ..plain(1) };
    made.cpu = vec![("app::hold", 28.0), ("app::other", 2.0)];
    let mut window = made.window();
    (window.off_cpu, window.hands) = (None, Some(hands.part(State::Running, "", 30.0, None, &[]).finish()));
    let found = diagnosed(vec![window], 1);
    let first = first(&found);
    assert_eq!((first.cause, first.named[0].name.as_str()), (Cause::Queued, "app::hold"), "{:#?}", found.verdicts);
    assert!(first.sentence.contains("hold holds workers most"), "{}", first.sentence);
    assert!((first.effect.unwrap().latency / 1e3 - 500.0).abs() < 10.0);
}

/// A thread for each client, which sleeps in the query's hands, and as long again between queries.
fn sleeper(clients: usize) -> Made {
    let sleep = "serve;fetch;usleep;clock_nanosleep;k:do_nanosleep";
    Made { waits: vec![(sleep, 2_000.0)], ..plain(clients) }
}

fn slept() -> Hands {
    let chain = [behind(Who::Interrupt, State::Outside, "", 1_000.0, vec![])];
    let sleep = "serve;fetch;usleep;clock_nanosleep;k:do_nanosleep";
    let other = "serve;ask;read;k:tcp_recvmsg;k:wait_woken";
    HandsBuilder::new(100)
        .part(State::Blocked, sleep, 1_000.0, None, &chain)
        .part(State::Blocked, other, 1_000.0, Some(5432), &chain)
        .part(State::Running, "", 30.0, None, &[])
        .finish()
}

#[test]
fn of_a_thread_for_each_connection_kinds_of_waits_come_from_the_time_in_hand_and_are_said_once() {
    let mut window = sleeper(16).window();
    let by_stacks = diagnosed(vec![window.clone()], 16);
    assert_eq!((first(&by_stacks).cause, by_stacks.verdicts[0].named[0].cost.round()), (Cause::Sleep, 2e6));
    window.hands = Some(slept());
    let found = diagnosed(vec![window], 16);
    let sleep = found.verdicts.iter().find(|verdict| verdict.cause == Cause::Sleep).unwrap();
    assert_eq!((sleep.named[0].name.as_str(), sleep.named[0].cost.round()), ("fetch", 1e6), "{sleep:#?}");
    let waits: Vec<&Finding> = found.verdicts.iter().filter(|verdict| verdict.cause == Cause::Wait).collect();
    let named: Vec<&str> = waits.iter().map(|wait| wait.named[0].name.as_str()).collect();
    assert_eq!(named, ["ask"], "{:#?}", found.verdicts);
    assert!(waits[0].sentence.contains("for port 5432 in ask"), "{}", waits[0].sentence);
}

#[test]
fn no_single_cause_names_the_largest_parts_of_the_time_in_hand() {
    let mut hands = HandsBuilder::new(100).part(State::Running, "", 30.0, None, &[]);
    for (stack, micros) in [("poll;app::a", 1.0), ("poll;app::b", 2.0), ("poll;app::c", 0.5)] {
        hands = hands.part(State::Waiting, stack, micros, None, &[]);
    }
    let mut window = plain(1).window();
    (window.off_cpu, window.hands) = (None, Some(hands.finish()));
    window.profile = None;
    let found = diagnosed(vec![window], 1);
    let none = &found.verdicts[0];
    assert_eq!(none.cause, Cause::NoSingleCause, "{:#?}", found.verdicts);
    let parts = "in the server's hands: runs on a CPU 26.5 µs, waits in app::b 2.00 µs, waits in app::a 1.00 µs.";
    assert!(none.sentence.contains(parts), "{}", none.sentence);
}
