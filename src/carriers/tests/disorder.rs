//! Events that came in another order than they happened, and events that are missing.

use super::*;

#[test]
fn events_are_put_in_order_and_those_that_came_late_are_counted() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).reads(100, 1, client(1)).wakes(500, 2, 1, 9).blocks(200, 1, 7).gets(500, 1);
    story.sends(700, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 300 in 2", "blocked at 7, ended by thread at 9: 300 in 1"]);
    assert_eq!((carried.disordered, carried.contradictions), (1, 0));
}

#[test]
fn a_thread_that_gets_a_cpu_twice_is_unseen_in_between() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).gets(300, 1).sends(400, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 100 in 1", "unseen: 200 in 1"]);
    assert_eq!((carried.unseen, carried.contradictions), (200, 1));
}

#[test]
fn a_blocked_thread_that_does_something_is_unseen_since_it_blocked() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).blocks(150, 1, 7).sends(400, 1, client(1));
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 50 in 1", "unseen: 250 in 1"]);
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).blocks(150, 1, 7).blocks(200, 1, 8).gets(300, 1);
    story.sends(400, 1, client(1));
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 150 in 2", "blocked at 8: 100 in 1", "unseen: 50 in 1"]);
}

#[test]
fn the_end_of_a_poll_without_its_beginning_changes_nothing() {
    let mut story = Story::default();
    story.gets(0, 1).polled(50, 1).reads(100, 1, client(1)).polled(110, 1).sends(120, 1, client(1));
    let carried = story.carried(0, 1_000);
    // The polls were under way when the recording began.
    assert_eq!((rows(&carried), carried.contradictions), (vec!["running: 20 in 1".into()], 0));
    story.polls(130, 1, 5).polled(140, 1).polled(150, 1);
    let carried = story.carried(0, 1_000);
    assert_eq!((rows(&carried), carried.contradictions), (vec!["running: 20 in 1".into()], 1));
}

#[test]
fn a_task_that_is_polled_elsewhere_has_left_the_poll_before_unseen() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).polls(90, 1, 5).reads(100, 1, client(1)).registers(110, 1, 5, 31);
    // The end of the poll is missing.
    story.polls(200, 2, 5).sends(220, 2, client(1)).polled(230, 2).reads(300, 1, client(2)).sends(310, 1, client(2));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 40 in 3", "unseen: 90 in 1"]);
    assert_eq!((carried.contradictions, carried.threads, carried.tasks), (1, 1, 1));
}

#[test]
fn polls_whose_ends_are_all_missing_do_not_pile_up() {
    let mut story = Story::default();
    story.gets(0, 1);
    for number in 0..100 {
        story.polls(10 + number, 1, number);
    }
    story.reads(200, 1, client(1)).sends(210, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!((carried.contradictions, carried.tasks, carried.nanos), (92, 1, 10));
}
