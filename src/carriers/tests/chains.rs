//! What is behind a wait.

use super::*;

/// Three sessions (tasks 1 to 3, on thread 1) ask a worker (task 8, on thread 2), which asks over a connection that
/// task 9 on thread 3 reads and writes.
fn batch() -> Story {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).gets(0, 3);
    story.polls(10, 2, 8).registers(11, 2, 8, 80).polled(12, 2).polls(10, 3, 9).registers(11, 3, 9, 90).polled(12, 3);
    for number in 1..=3 {
        let at = 100 + u64::from(number) * 10;
        story.polls(at, 1, number.into()).reads(at, 1, client(number)).registers(at + 2, 1, number.into(), 30);
        story.wakes_task(at + 3, 1, 8, 38).polled(at + 5, 1);
    }
    // The worker asks at 160; the connection's task passes it on at 180; the answer comes at 400.
    story.polls(140, 2, 8).wakes_task(160, 2, 9, 81).registers(162, 2, 8, 82).polled(165, 2).blocks(166, 2, 20);
    story.polls(170, 3, 9).sends(180, 3, database(1)).registers(181, 3, 9, 91).polled(185, 3).blocks(190, 3, 21);
    story.interrupt_wakes(400, 3).gets(410, 3).wakes_task(415, 3, 9, 92).polls(420, 3, 9).reads(425, 3, database(1));
    story.wakes_task(430, 3, 8, 93).wakes(432, 3, 2, 94).polled(435, 3).gets(440, 2).polls(440, 2, 8);
    for number in 1..=3 {
        story.wakes_task(440 + number * 10, 2, number, 83);
    }
    story.polled(480, 2);
    for number in 1..=3 {
        let at = 490 + u64::from(number) * 10;
        story.polls(at, 1, number.into()).sends(at + 5, 1, client(number)).polled(at + 6, 1);
    }
    story
}

#[test]
fn a_batch_is_explained_down_to_the_socket() {
    let carried = batch().carried(0, 1_000);
    // Session 1 waits from 115 to 450, 2 from 125 to 460, 3 from 135 to 470.
    assert_eq!(
        rows(&carried),
        ["running: 30 in 6", "waiting at 30, ended by task 8 at 83: 1005 in 3", "queued at 30: 150 in 3",]
    );
    let waits = carried.chains.nodes.iter().filter(|node| node.key.state == State::Waiting).cloned();
    let behind = [
        "  task 8 waiting at 82: 265 in 1",
        "    task 9 waiting at 91 behind 5432: 230 in 1",
        "      thread waitsalready at 21: 215 in 1",
        "        interrupt outside: 215 in 1",
        "      thread runnable: 10 in 1",
        "      thread running: 5 in 1",
        "    task 9 running: 25 in 2",
        "    task 9 queued at 90: 5 in 1",
        "    task 9 queued at 91: 5 in 1",
    ];
    // The worker is polled from 140 to 165 and from 440 on; it was woken at 113 and at 430.
    let of_worker = [
        ["  task 8 running: 35 in 2", "  task 8 queued at 80: 25 in 1", "  task 8 queued at 82: 10 in 1"],
        ["  task 8 running: 45 in 2", "  task 8 queued at 80: 15 in 1", "  task 8 queued at 82: 10 in 1"],
        ["  task 8 running: 55 in 2", "  task 8 queued at 82: 10 in 1", "  task 8 queued at 80: 5 in 1"],
    ];
    for (number, wait) in waits.enumerate() {
        let whole = format!("task {} waiting at 30: 335 in 1", number + 1);
        let expected: Vec<_> = [&whole as &str].into_iter().chain(behind).chain(of_worker[number]).collect();
        assert_eq!(tree(&[wait]), expected);
    }
}

#[test]
fn threads_that_wake_each_other_by_turns_have_one_wait_after_the_other() {
    let mut story = Story::default();
    story.gets(0, 1).gets(0, 2).blocks(50, 2, 20).reads(100, 1, client(1)).wakes(105, 1, 2, 10).gets(105, 2);
    story.blocks(110, 1, 11).wakes(120, 2, 1, 21).blocks(130, 2, 22).gets(140, 1).wakes(150, 1, 2, 12);
    story.gets(150, 2).blocks(155, 1, 13).wakes(200, 2, 1, 23).gets(200, 1).sends(210, 1, client(1));
    assert_eq!(
        tree(&story.carried(0, 1_000).chains.nodes),
        [
            "thread blocked at 13: 45 in 1",
            "  thread running: 45 in 1",
            "thread blocked at 11: 10 in 1",
            "  thread running: 10 in 1",
        ]
    );
}

#[test]
fn an_ender_that_slept_when_the_wait_began_waited_already_and_its_own_ender_is_told() {
    let mut story = Story::default();
    // Thread 2 holds what thread 1 needs, and writes to a disk; then it works on.
    story.gets(0, 1).gets(0, 2).blocks(50, 2, 20).reads(100, 1, client(1)).blocks(110, 1, 7);
    story.interrupt_wakes(200, 2).gets(210, 2).wakes(250, 2, 1, 21).gets(250, 1).sends(260, 1, client(1));
    assert_eq!(
        tree(&story.carried(0, 1_000).chains.nodes),
        [
            "thread blocked at 7: 140 in 1",
            "  thread waitsalready at 20: 90 in 1",
            "    interrupt outside: 90 in 1",
            "  thread running: 40 in 1",
            "  thread runnable: 10 in 1",
        ]
    );
}

#[test]
fn an_ender_that_was_not_followed_is_unseen() {
    let mut story = Story::default();
    // Thread 99 is of another process: it is known by this wake-up only.
    story.gets(0, 1).reads(100, 1, client(1)).blocks(110, 1, 7).wakes(250, 99, 1, 21).gets(250, 1);
    story.sends(260, 1, client(1));
    let carried = story.carried(0, 1_000);
    assert_eq!(tree(&carried.chains.nodes), ["thread blocked at 7: 140 in 1", "  foreign unseen: 140 in 1"]);
}

#[test]
fn a_workers_polls_of_other_tasks_before_it_parked_say_nothing_of_what_came_from_outside() {
    let mut story = Story::default();
    story.gets(0, 1).polls(90, 1, 5).reads(100, 1, client(1)).registers(101, 1, 5, 31).polled(110, 1);
    story.polls(120, 1, 6).polled(150, 1).blocks(160, 1, 10).interrupt_wakes(300, 1).gets(310, 1);
    story.wakes_task(320, 1, 5, 11).polls(330, 1, 5).sends(340, 1, client(1));
    assert_eq!(
        tree(&story.carried(0, 1_000).chains.nodes),
        [
            "task 5 waiting at 31: 210 in 1",
            "  thread waitsalready at 10: 190 in 1",
            "    interrupt outside: 190 in 1",
            "  thread running: 10 in 1",
            "  thread runnable: 10 in 1",
            "task 5 queued at 31: 10 in 1",
        ]
    );
}

#[test]
fn chains_end_five_enders_deep() {
    let mut story = Story::default();
    for thread in 1..=9 {
        story.gets(0, thread);
    }
    story.reads(100, 1, client(1));
    for thread in 1..=8 {
        story.blocks(100 + u64::from(thread), thread, 10 + thread);
    }
    for thread in (1..=8).rev() {
        let at = 300 - u64::from(thread) * 10;
        story.wakes(at, thread + 1, thread, 20).gets(at, thread);
    }
    story.sends(400, 1, client(1));
    let carried = story.carried(0, 1_000);
    let lines = tree(&carried.chains.nodes);
    let deepest = lines.iter().map(|line| line.len() - line.trim_start().len()).max();
    assert_eq!(deepest, Some(10), "{lines:?}");
}

#[test]
fn of_very_many_waits_some_are_followed_evenly_and_nothing_is_scaled() {
    let mut story = Story::default();
    story.gets(0, 1);
    for number in 0..30_000 {
        let at = 100 + number * 10;
        story.reads(at, 1, client(1)).blocks(at + 1, 1, 7).interrupt_wakes(at + 4, 1).gets(at + 5, 1);
        story.sends(at + 6, 1, client(1));
    }
    let chains = story.carried(0, 1_000_000).chains;
    assert_eq!((chains.waits, chains.nanos, chains.chained, chains.chained_nanos), (30_000, 90_000, 20_000, 60_000));
}
