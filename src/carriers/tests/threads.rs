//! Threads that carry queries, as PostgreSQL's backends do.

use super::*;

#[test]
fn a_thread_is_running_blocked_until_another_one_wakes_it_and_runnable_until_it_gets_a_cpu() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).reads(100, 1, client(1)).reads(150, 1, client(1));
    story.add(200, 1, Happened::Leaves { preempted: false, stack: Some(7), wait_event: 0x0100_0003 });
    story.wakes(500, 2, 1, 9).gets(560, 1).sends(700, 1, client(1)).sends(710, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        ["running: 240 in 2", "runnable: 60 in 1", "blocked at 7 event 16777219, ended by thread at 9: 300 in 1"]
    );
    assert_eq!((carried.answered, carried.nanos, carried.pieces, carried.handed_over), (1, 600, 1, 0));
    assert_eq!((carried.threads, carried.tasks, carried.loops, carried.unseen), (1, 0, 0, 0));
    assert_eq!(tree(&carried.chains.nodes), ["thread blocked at 7: 300 in 1", "  thread running: 300 in 1"]);
}

#[test]
fn a_preempted_thread_is_runnable_and_a_wake_up_of_a_thread_on_its_cpu_changes_nothing() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).reads(100, 1, client(1)).wakes(120, 2, 1, 9).is_preempted(150, 1).wakes(160, 2, 1, 9);
    story.gets(250, 1).sends(300, 1, client(1));
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 100 in 2", "runnable: 100 in 1"]);
}

#[test]
fn a_thread_is_unseen_until_its_first_event_and_a_query_until_its_first_read() {
    let mut story = Story::default();
    story.sends(100, 1, client(1)).sends(110, 1, client(1)).reads(200, 1, client(1)).sends(300, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!((rows(&carried), carried.answered, carried.pieces), (vec!["running: 100 in 1".into()], 1, 0));
}

#[test]
fn both_ends_of_the_span_cut_queries_and_their_waits() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).blocks(110, 1, 7).interrupt_wakes(300, 1).gets(300, 1);
    story.sends(310, 1, client(1)).reads(350, 1, client(1)).blocks(360, 1, 7);
    let carried = story.carried(200, 400);
    assert_eq!(
        rows(&carried),
        ["running: 20 in 2", "blocked at 7: 40 in 1", "blocked at 7, ended by interrupt: 100 in 1"]
    );
    assert_eq!((carried.answered, carried.nanos), (1, 160));
    let chains = &carried.chains;
    assert_eq!((chains.nanos, chains.waits, chains.chained_nanos, chains.chained), (140, 2, 140, 2));
    assert_eq!(
        tree(&chains.nodes),
        ["thread blocked at 7: 140 in 2", "  interrupt outside: 100 in 1", "  nobody unseen: 40 in 1"]
    );
    assert_eq!(story.carried(400, 200).nanos, 0);
}

#[test]
fn a_wait_for_an_answer_of_the_hop_behind_says_its_port() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).blocks(110, 1, 6).interrupt_wakes(120, 1).gets(120, 1);
    story.sends(130, 1, database(1)).blocks(140, 1, 7).interrupt_wakes(200, 1).gets(200, 1);
    story.reads(210, 1, database(1)).blocks(220, 1, 8).interrupt_wakes(240, 1).gets(240, 1).sends(250, 1, client(1));
    assert_eq!(
        rows(&story.carried(0, 300)),
        [
            "running: 60 in 4",
            "blocked at 6, ended by interrupt: 10 in 1",
            "blocked at 7 behind 5432, ended by interrupt: 60 in 1",
            "blocked at 8, ended by interrupt: 20 in 1",
        ]
    );
}

#[test]
fn a_connection_that_was_closed_before_an_answer_has_no_query() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1));
    story.reads(200, 1, Socket { other: 41_000, ..client(1) }).sends(230, 1, Socket { other: 41_000, ..client(1) });
    let carried = story.carried(0, 1_000);
    assert_eq!((carried.nanos, carried.answered, carried.abandoned), (30, 1, 1));
}

/// Two threads that each read queries, and take over from each other so many of a hundred.
fn moved(taken_over: usize) -> Carried {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2);
    for number in 0..100 {
        let (at, reader) = (100 * number as Nanos + 100, 1 + number as u32 % 2);
        let sender = if number < taken_over { 3 - reader } else { reader };
        story.reads(at, reader, client(reader as u16)).sends(at + 50, sender, client(reader as u16));
    }
    story.carried(0, 100_000)
}

#[test]
fn of_queries_that_threads_take_over_from_each_other_nothing_is_told() {
    let carried = moved(30);
    assert_eq!((carried.moved, carried.unseen, carried.nanos), (5_000, 5_000, 5_000));
    assert_eq!(carried.handed_over, 30);
    let carried = moved(1);
    assert_eq!((carried.moved, carried.handed_over), (0, 1), "one may be anything");
    assert_eq!(rows(&carried)[0], "running: 4950 in 99");
}

#[test]
fn a_thread_of_another_process_that_wakes_is_told_as_such() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).blocks(110, 1, 7).wakes(200, 99, 1, 8).gets(210, 1);
    story.sends(220, 1, client(1));
    assert_eq!(
        rows(&story.carried(0, 1_000)),
        ["running: 20 in 2", "runnable: 10 in 1", "blocked at 7, ended by foreign at 8: 90 in 1"]
    );
}

/// Who wakes says so before the other has left its CPU: the kernel lets both go on at once.
#[test]
fn who_is_woken_on_its_way_off_the_cpu_does_not_wait() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).reads(100, 1, client(1)).wakes(109, 2, 1, 8).blocks(110, 1, 7).gets(210, 1);
    story.sends(220, 1, client(1));
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 20 in 2", "runnable: 100 in 1"]);
    // Woken before it decided to wait anew.
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).wakes(90, 2, 1, 8).reads(100, 1, client(1)).blocks(110, 1, 7).gets(210, 1);
    story.sends(220, 1, client(1));
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 20 in 2", "blocked at 7: 100 in 1"]);
}
