//! Events that came in another order than they happened, and events that are missing.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

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

/// Events of a server that is followed whole, and its rows.
fn whole(seed: u64) -> (Story, Nanos, Carried) {
    let mut server = random::Server::new(seed);
    (0..300).for_each(|_| server.step());
    let carried = server.story.carried(0, server.now);
    (server.story, server.now, carried)
}

#[test]
fn events_that_come_in_another_order_than_their_clocks_change_no_figure() {
    for seed in 0..100 {
        let (mut story, end, wanted) = whole(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let mut swapped = 0;
        for at in 1..story.raw.events.len() {
            // Those of one instant stay as they came: nothing tells their order.
            if story.raw.events[at - 1].at < story.raw.events[at].at && random.random_bool(0.2) {
                story.raw.events.swap(at - 1, at);
                swapped += 1;
            }
        }
        let mut found = story.carried(0, end);
        assert!(swapped > 0 && found.disordered > 0 && found.disordered <= swapped, "seed {seed}");
        found.disordered = 0;
        // An event that moved on over one of its own instant came before that.
        if found.contradictions == 0 {
            assert_eq!(found.rows, wanted.rows, "seed {seed}");
        }
    }
}

#[test]
fn events_that_are_doubled_or_lost_or_of_one_instant_leave_the_sums_as_they_are() {
    let mut told = [0; 4];
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut story, end, wanted) = whole(seed);
        let how = seed as usize % 4;
        let events = std::mem::take(&mut story.raw.events).into_iter();
        story.raw.events = match how {
            0 => events.flat_map(|event| vec![event; 1 + usize::from(random.random_bool(0.1))]).collect(),
            1 => events.filter(|_| !random.random_bool(0.1)).collect(),
            2 => events.map(|event| FollowedEvent { at: event.at / 16 * 16, ..event }).collect(),
            // The socket's memory is given to another client's connection.
            _ => events.map(|event| reused(event, &mut random)).collect(),
        };
        let found = story.carried(0, end);
        assert!(found.unseen <= found.nanos && found.nanos <= 5 * end, "seed {seed}: {found:?}");
        // What is told twice was so all the while.
        assert!(how != 0 || found.nanos == wanted.nanos, "seed {seed}");
        let differs = found.rows != wanted.rows;
        told[how] += u64::from(differs && found.contradictions + found.abandoned + found.unseen > 0);
    }
    assert!(told[1] > 40 && told[3] > 20, "what is missing is told in so many: {told:?}");
}

fn reused(event: FollowedEvent, random: &mut StdRng) -> FollowedEvent {
    let happened = match event.happened {
        Happened::Reads(socket) if random.random_bool(0.1) => Happened::Reads(Socket { other: 45_000, ..socket }),
        other => other,
    };
    FollowedEvent { happened, ..event }
}
