//! Async tasks that carry queries.

use super::*;

#[test]
fn a_task_waits_where_it_registered_is_queued_when_woken_and_has_its_threads_states_in_a_poll() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(90, 1, 5).reads(100, 1, client(1));
    story.registers(110, 1, 5, 31).polled(120, 1).wakes_task(200, 2, 5, 41).polls(230, 2, 5);
    // A lock of the standard library blocks the thread within the poll.
    story.blocks(240, 2, 51).wakes(300, 1, 2, 61).gets(310, 2);
    story.registers(320, 2, 5, 32).polled(330, 2).polls(340, 2, 6).wakes_task(400, 2, 5, 42).polled(405, 2);
    story.polls(410, 1, 5).sends(450, 1, client(1)).polled(460, 1);
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        [
            "running: 90 in 4",
            "runnable: 10 in 1",
            "blocked at 51, ended by thread at 61: 60 in 1",
            "waiting at 31, ended by thread at 41: 80 in 1",
            "waiting at 32, ended by task 6 at 42: 70 in 1",
            "queued at 31: 30 in 1",
            "queued at 32: 10 in 1",
        ]
    );
    assert_eq!((carried.threads, carried.tasks, carried.handed_over), (0, 1, 0));
}

#[test]
fn a_wake_up_during_a_poll_queues_the_task_at_its_end() {
    let mut story = Story::default();
    story.gets(0, 1).polls(90, 1, 5).reads(100, 1, client(1)).registers(105, 1, 5, 31).wakes_task(110, 1, 5, 41);
    story.polled(120, 1).wakes_task(130, 1, 5, 41).polls(150, 1, 5).sends(160, 1, client(1)).polled(170, 1);
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 30 in 2", "queued at 31: 30 in 1"]);
}

#[test]
fn without_a_new_registration_the_stack_of_the_wait_before_stands() {
    let mut story = Story::default();
    story.gets(0, 1).polls(90, 1, 5).reads(100, 1, client(1)).registers(110, 1, 5, 31).polled(120, 1);
    story.wakes_task(150, 1, 5, 41).polls(150, 1, 5).polled(160, 1).wakes_task(200, 1, 5, 41).polls(200, 1, 5);
    story.sends(210, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 40 in 3", "waiting at 31, ended by thread at 41: 70 in 2"]);
}

#[test]
fn of_several_registrations_the_last_tells_and_the_others_are_kept_once() {
    let mut story = Story::default();
    story.gets(0, 1).polls(90, 1, 5).reads(100, 1, client(1));
    story.registers(101, 1, 5, 33).registers(102, 1, 5, 32).registers(103, 1, 5, 33).registers(104, 1, 5, 31);
    // Wakers of other tasks that are handed on are none of this wait's.
    story.registers(105, 1, 6, 34).polled(120, 1).wakes_task(150, 1, 5, 41).polls(160, 1, 5);
    story.sends(170, 1, client(1));
    let carried = story.carried(0, 1_000);
    let waiting = "waiting at 31 or 33 or 32, ended by thread at 41: 30 in 1";
    assert_eq!(rows(&carried), ["running: 30 in 2", waiting, "queued at 31: 10 in 1"]);
}

#[test]
fn a_task_whose_polls_are_not_probed_is_unseen_and_its_thread_carries_the_query() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(90, 1, 5).reads(100, 1, client(1)).registers(110, 1, 5, 31).polled(120, 1);
    story.reads(130, 2, client(2)).wakes_task(150, 2, 9, 40).sends(160, 2, client(2));
    story.wakes_task(200, 2, 5, 41).polls(200, 1, 5).sends(210, 1, client(1));
    let carried = story.carried(0, 1_000);
    let waiting = "waiting at 31, ended by thread at 41: 80 in 1";
    assert_eq!(rows(&carried), ["running: 60 in 3", waiting]);
    assert_eq!((carried.threads, carried.tasks), (1, 1));
}

#[test]
fn polls_nest_and_the_innermost_task_carries_while_the_outer_one_is_polled_too() {
    let mut story = Story::default();
    story.gets(0, 1).polls(80, 1, 5).reads(85, 1, client(2)).polls(90, 1, 6).reads(100, 1, client(1));
    story.registers(105, 1, 6, 31).blocks(110, 1, 51).interrupt_wakes(120, 1).gets(120, 1).polled(130, 1);
    story.sends(140, 1, client(2)).registers(141, 1, 5, 32).polled(150, 1);
    story.wakes_task(200, 1, 6, 41).polls(200, 1, 6).sends(210, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        [
            "running: 75 in 5",
            "blocked at 51, ended by interrupt: 20 in 2",
            "waiting at 31, ended by thread at 41: 70 in 1",
        ]
    );
    assert_eq!(carried.tasks, 2);
}

#[test]
fn a_query_that_a_channel_hands_to_another_task_is_carried_by_that_one_from_the_wake_up_on() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(10, 2, 6).registers(11, 2, 6, 32).polled(12, 2);
    story.polls(90, 1, 5).reads(100, 1, client(1)).wakes_task(120, 1, 6, 42).registers(125, 1, 5, 31);
    story.polled(130, 1).polls(140, 2, 6).sends(180, 2, client(1)).polled(190, 2);
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        ["running: 20 in 1", "running, handed over: 40 in 1", "queued at 32, handed over: 20 in 1"]
    );
    assert_eq!((carried.handed_over, carried.tasks), (1, 2));
}

#[test]
fn a_query_can_be_handed_over_by_way_of_others() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(10, 2, 6).polled(12, 2).polls(13, 2, 7).polled(14, 2);
    story.polls(90, 1, 5).reads(100, 1, client(1)).wakes_task(120, 1, 6, 42).polled(130, 1);
    story.polls(140, 2, 6).wakes_task(150, 2, 7, 43).polled(155, 2).polls(160, 2, 7).sends(170, 2, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        [
            "running: 20 in 1",
            "running, handed over: 10 in 1",
            "waiting, ended by task 6 at 43, handed over: 30 in 1",
            "queued, handed over: 10 in 1",
        ]
    );
}

#[test]
fn where_no_wake_up_tells_it_the_query_is_handed_over_when_the_other_began_to_run() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(10, 2, 6).polled(12, 2).polls(90, 1, 5).reads(100, 1, client(1));
    story.polled(130, 1).polls(160, 2, 6).sends(170, 2, client(1));
    assert_eq!(
        rows(&story.carried(0, 1_000)),
        ["running: 30 in 1", "running, handed over: 10 in 1", "waiting: 30 in 1"]
    );
    // The one that answers is made for it.
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(90, 1, 5).reads(100, 1, client(1)).registers(105, 1, 5, 31).polled(130, 1);
    story.polls(160, 2, 6).sends(170, 2, client(1));
    assert_eq!(
        rows(&story.carried(0, 1_000)),
        ["running: 30 in 1", "running, handed over: 10 in 1", "waiting at 31: 30 in 1"]
    );
    // The one that answers ran all the time.
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).reads(100, 1, client(1)).sends(170, 2, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!((rows(&carried), carried.unseen), (vec!["unseen, handed over: 70 in 1".into()], 70));
}

#[test]
fn another_poll_function_at_the_same_address_is_another_task() {
    let mut story = Story::default();
    story.gets(0, 1).polls(10, 1, 5).reads(15, 1, client(1)).registers(16, 1, 5, 31).polled(20, 1);
    let later = Task { id: 5, poll: 77 };
    story.add(50, 1, Happened::Polls(later)).reads(60, 1, client(2)).polled(70, 1);
    story.add(80, 1, Happened::WakesTask(Task { id: 5, poll: 0 }, Some(41)));
    story.add(90, 1, Happened::Polls(later)).sends(100, 1, client(2)).polled(110, 1);
    let carried = story.carried(0, 120);
    assert_eq!(
        rows(&carried),
        [
            "running: 25 in 3",
            "waiting, ended by thread at 41: 10 in 1",
            "waiting at 31: 30 in 1",
            "queued: 10 in 1",
            "unseen: 70 in 1",
        ]
    );
    assert_eq!((carried.tasks, carried.contradictions), (2, 0));
}

#[test]
fn a_task_waits_where_the_futures_within_it_wait_until_they_are_woken() {
    let mut story = Story::default();
    story.gets(0, 1).polls(90, 1, 5).reads(100, 1, client(1)).registers(105, 1, 5, 30);
    story.registers_within(110, 1, 1_001, 31).registers_within(115, 1, 1_002, 32).polled(120, 1);
    // The later one is woken and ends; the other one waits on.
    story
        .wakes_within(150, 1, 1_002)
        .wakes_task(150, 1, 5, 41)
        .polls(150, 1, 5)
        .registers(155, 1, 5, 30)
        .polled(160, 1);
    story
        .wakes_within(200, 1, 1_001)
        .wakes_task(200, 1, 5, 42)
        .polls(200, 1, 5)
        .sends(210, 1, client(1))
        .polled(220, 1);
    assert_eq!(
        rows(&story.carried(0, 1_000)),
        [
            "running: 40 in 3",
            "waiting at 31 or 30, ended by thread at 42: 40 in 1",
            "waiting at 32 or 30 or 31, ended by thread at 41: 30 in 1",
        ]
    );
}

/// A task that is woken in its poll is in the queue again before the poll has returned.
#[test]
fn another_thread_can_poll_a_task_before_the_first_poll_has_returned() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(100, 1, 5).reads(110, 1, client(1)).wakes_task(120, 1, 5, 3);
    story.polls(150, 2, 5).polled(160, 1).polls(170, 1, 6).sends(180, 2, client(1)).polled(190, 2).polled(200, 1);
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 70 in 2"]);
    assert_eq!((carried.contradictions, carried.unseen, carried.handed_over), (0, 0, 0));
}
