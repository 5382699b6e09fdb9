//! An event loop that passes queries on.

use super::*;

/// Three clients ask at once; the pool has one connection, or two of which the loop uses one.
fn pooler(second: bool) -> Story {
    let mut story = Story::default();
    story.gets(0, 1);
    if second {
        story.sends(5, 1, database(2)).reads(8, 1, database(2));
    }
    story.reads(100, 1, client(1)).sends(110, 1, database(1)).reads(115, 1, client(2)).reads(120, 1, client(3));
    for (number, begin) in [(1, 110), (2, 210), (3, 310)] {
        story.blocks(begin + 15, 1, 7).interrupt_wakes(begin + 80, 1).gets(begin + 85, 1);
        story.reads(begin + 90, 1, database(1)).sends(begin + 95, 1, client(number));
        if number < 3 {
            story.sends(begin + 100, 1, database(1));
        }
    }
    if second {
        story.sends(500, 1, database(2)).reads(510, 1, database(2));
    }
    story
}

#[test]
fn a_query_in_an_event_loop_waits_for_its_turn_and_behind_the_hop() {
    let carried = pooler(false).carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        ["running: 15 in 3", "beforehop { port: 5432 }: 295 in 3", "behind { port: 5432 }: 270 in 3"]
    );
    assert_eq!((carried.answered, carried.loops, carried.threads), (3, 1, 1));
    // The one connection was free from 200 to 210 and from 300 to 310, and was not seen before 110.
    assert_eq!(carried.turns[&DATABASE], Turn { nanos: 295, all_busy: 295 - 10 - 2 * 10 - 10 });
}

#[test]
fn a_loop_with_a_free_connection_is_told_from_one_without() {
    let carried = pooler(true).carried(0, 1_000);
    assert_eq!(carried.turns[&DATABASE], Turn { nanos: 295, all_busy: 0 });
}

#[test]
fn the_same_connections_one_by_one_are_no_loop() {
    let mut story = Story::default();
    story.gets(0, 1);
    for (number, begin) in [(1, 100), (2, 200)] {
        story.reads(begin, 1, client(number)).sends(begin + 10, 1, database(1)).blocks(begin + 15, 1, 7);
        story.interrupt_wakes(begin + 80, 1).gets(begin + 85, 1).reads(begin + 90, 1, database(1));
        story.sends(begin + 95, 1, client(number));
    }
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        ["running: 50 in 4", "runnable: 10 in 2", "blocked at 7 behind 5432, ended by interrupt: 130 in 2"]
    );
    assert_eq!(carried.loops, 0);
}

#[test]
fn a_loop_that_asks_nobody_has_its_own_states_for_every_query_in_its_hands() {
    let mut story = Story::default();
    story.gets(0, 1).reads(100, 1, client(1)).reads(110, 1, client(2)).is_preempted(120, 1).gets(150, 1);
    story.sends(160, 1, client(1)).sends(180, 1, client(2));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 70 in 4", "runnable: 60 in 2"]);
    assert_eq!((carried.loops, carried.nanos), (1, 130));
}

#[test]
fn a_listening_port_and_a_port_that_only_answers_are_no_hop() {
    let mut story = Story::default();
    let metrics = |number: u16| Socket { id: 3_000 + u64::from(number), own: 9_090, other: 30_000 + number };
    story.gets(0, 1).sends(10, 1, metrics(1)).reads(20, 1, metrics(2));
    story.reads(100, 1, client(1)).sends(110, 1, metrics(1)).blocks(120, 1, 7).interrupt_wakes(150, 1).gets(150, 1);
    story.sends(160, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(rows(&carried), ["running: 30 in 2", "blocked at 7, ended by interrupt: 30 in 1"]);
}

#[test]
fn a_recording_that_begins_within_a_round_trip_knows_the_connection_by_its_neighbours() {
    let mut story = Story::default();
    story.gets(0, 1).reads(10, 1, database(1)).sends(20, 1, database(2)).reads(30, 1, database(2));
    story.reads(100, 1, client(1)).sends(110, 1, database(1)).blocks(120, 1, 7).interrupt_wakes(150, 1).gets(150, 1);
    story.reads(155, 1, database(1)).sends(160, 1, client(1));
    let blocked = "blocked at 7 behind 5432, ended by interrupt: 30 in 1";
    assert_eq!(rows(&story.carried(0, 1_000)), ["running: 30 in 2", blocked]);
}

/// The pool has one connection, and the recording begins within its round trip.
#[test]
fn who_listens_tells_the_own_connections_from_those_that_others_opened() {
    let mut story = Story::default();
    story.gets(0, 1).reads(50, 1, database(1)).reads(100, 1, client(1)).reads(105, 1, client(2));
    for (number, begin) in [(1, 110), (2, 210)] {
        story.sends(begin, 1, database(1)).blocks(begin + 15, 1, 7).wakes(begin + 80, 99, 1, 8).gets(begin + 85, 1);
        story.reads(begin + 90, 1, database(1)).sends(begin + 95, 1, client(number));
    }
    let carried = story.carried(0, 1_000);
    assert!(carried.turns.is_empty(), "which socket is whose is not known");
    story.raw.listening = [QUERY].into();
    let carried = story.carried(0, 1_000);
    assert_eq!(
        rows(&carried),
        ["running: 10 in 2", "beforehop { port: 5432 }: 115 in 2", "behind { port: 5432 }: 180 in 2"]
    );
    assert_eq!(carried.turns[&DATABASE], Turn { nanos: 115, all_busy: 90 });
    // A metrics endpoint that is asked by one client is none of its own connections.
    story.raw.listening = [QUERY, database(1).own].into();
    assert!(story.carried(0, 1_000).turns.is_empty());
}
