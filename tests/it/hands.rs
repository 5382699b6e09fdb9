//! What carried the queries, from a constructed run: exact figures a query in tables and pictures, and that a stored
//! run gives the same, or says what it lacks.

use crate::build::hands::{hands, key, node};
use crate::checks::{bad, check, fires};
use crate::rows::{self, figure, row};
use crate::{build, golden};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use wireprof::analyze::cost::carrier_names::Naming;
use wireprof::analyze::cost::hot::{By, HotOptions, HotTable, hot};
use wireprof::analyze::cost::owners::Rules;
use wireprof::analyze::cost::view::Source;
use wireprof::analyze::time::hands::{hands as divided, not_followed};
use wireprof::carriers::{State, Who};
use wireprof::check::Status;
use wireprof::preset::Preset;
use wireprof::profile::Focus;
use wireprof::render::flamegraph::{Pictures, Wanted, write_pictures};
use wireprof::render::{Report, Section, hands_section, hot_report, json_value, terminal};
use wireprof::run::{AtSockets, Hands, Manifest, Part, Run, Store, Window};

const ANSWERED: u64 = 1_000;
const WORKER: Who = Who::Task { poll: 7 };
const STACKS: [&str; 4] = [
    "main;tokio::runtime::run;serve;peek;oracle;tokio::runtime::clone_waker",
    "main;tokio::runtime::run;batches;answer;tokio::runtime::wake",
    "main;tokio::runtime::run;serve;persist;k:futex_wait",
    "main;flush;k:futex_wake",
];

/// Queries of `scale` ms in hand: 70 % waits for the oracle, 15 % blocked in `persist`, 10 % on a CPU, 5 % ready.
fn followed(scale: u64) -> Hands {
    let part = |percent: u64| ANSWERED * scale * percent * 10_000;
    let connection = Who::Task { poll: 6 };
    let rows = vec![
        (key(State::Running, None, None), part(10)),
        (key(State::Queued, None, None), part(5)),
        (key(State::Waiting, Some(0), Some((WORKER, 1))), part(70)),
        (key(State::Blocked, Some(2), Some((Who::Thread, 3))), part(15)),
    ];
    let worker = |state, percent| node(WORKER, state, None, part(percent), vec![]);
    let nodes = vec![
        node(
            connection,
            State::Waiting,
            Some(0),
            part(70),
            vec![worker(State::Running, 60), worker(State::Runnable, 10)],
        ),
        node(
            connection,
            State::Blocked,
            Some(2),
            part(15),
            vec![node(Who::Thread, State::Running, None, part(15), vec![])],
        ),
        node(connection, State::Queued, None, part(5), vec![]),
    ];
    let mut hands = hands(&STACKS, ANSWERED, rows, nodes);
    let poll = |future: &str| format!("tokio::runtime::task::raw::poll::<{future}, alloc::sync::Arc<Handle>>");
    hands.facts.polls = [(6, poll("serve::{closure}")), (7, poll("batches::{closure}"))].into();
    hands
}

fn window(level: usize, hands: Option<Hands>) -> Window {
    Window { hands, ..build::window(level, 1, 1, 2_000, None) }
}

/// One client: 1 ms in hand. 16: 3 ms. 64: not followed.
fn run() -> Run {
    build::run(vec![window(1, Some(followed(1))), window(16, Some(followed(3))), window(64, None)])
}

fn preset() -> Preset {
    Preset::built_in("testbed").unwrap()
}

fn section(run: &Run) -> Section {
    let levels = divided(run, &preset());
    hands_section(&levels, &not_followed(run, &levels))
}

fn text(section: Section) -> String {
    terminal(&Report { title: "Run R explained".into(), sections: vec![section], ..Report::default() }, 120)
}

fn waits(run: &Run, by: By, focus: Option<Focus>) -> HotTable {
    let owners = Some(Rules::of_waits(&preset(), &run.manifest)).filter(|_| by == By::Owner);
    hot(run, &HotOptions { source: Source::Waits, by, owners, focus, ..HotOptions::default() })
}

/// Name and µs a query at each level.
fn rows(table: &HotTable) -> Vec<(&str, Vec<f64>)> {
    let costs = |row: &wireprof::analyze::cost::hot::HotRow| {
        row.costs.iter().flatten().map(|cost| cost.value / 1e3).collect::<Vec<_>>()
    };
    table.rows.iter().map(|row| (row.frame.name.as_str(), costs(row))).collect()
}

/// Stores the run's windows, and what is done to the directory of the first.
fn stored(run: &Run, damage: impl Fn(&Path)) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let order = run.windows.iter().map(Window::id).collect();
    let mut writer = store.create(Manifest { order, ..run.manifest.clone() }).unwrap();
    run.windows.iter().for_each(|window| writer.write_window(window, None).unwrap());
    writer.finish("complete").unwrap();
    damage(&store.find(&run.manifest.id).unwrap().join("L0001-R1"));
    store.load(&run.manifest.id).unwrap()
}

type Damage<'a> = &'a dyn Fn(&Path);

fn lacks(run: &Run) -> Option<&str> {
    Some(run.windows[0].facts.lacks(&Part::CarrierStacks)?.why.as_str())
}

#[test]
fn the_time_in_hand_is_told_by_state_function_and_who_ended_it_and_levels_not_followed_say_so() {
    golden::assert("explain-hands.txt", &text(section(&run())));
    let answer = json_value("explain", &Report { sections: vec![section(&run())], ..Report::default() });
    let told = |facts: Value| row(rows::rows(&answer), &facts);
    for (level, nanos) in [(1, 700_000.0), (16, 2_100_000.0)] {
        let waits = told(json!({"function": "oracle", "level": level}));
        let names = ["state", "state_text", "unit"].map(|key| waits[key].as_str().unwrap());
        assert_eq!(names, ["waiting", "waits", "s/query"]);
        assert!((waits["value"].as_f64().unwrap() * 1e9 - nanos).abs() < 1e-3, "{waits}");
    }
    assert!((figure(rows::rows(&answer), &json!({"state": "in_hand", "level": 16})) - 3e-3).abs() < 1e-12);
}

#[test]
fn waits_are_divided_by_the_queries_answered_meanwhile_and_count_for_the_programs_functions() {
    let run = run();
    let table = waits(&run, By::Owner, None);
    assert_eq!(rows(&table), [("oracle", vec![700.0, 2_100.0]), ("persist", vec![150.0, 450.0])]);
    assert_eq!(table.levels[0].queries, Some(ANSWERED as f64), "not the window's 2,000");
    assert_eq!(table.levels[1].total.as_ref().map(|total| total.value), Some(2_550_000.0));
    let own = waits(&run, By::SelfCost, None);
    let names: Vec<&str> = rows(&own).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["tokio::runtime::clone_waker", "futex_wait"]);
    let all = waits(&run, By::Total, None);
    assert!(rows(&all).contains(&("serve", vec![850.0, 2_550.0])));
    let inside = waits(&run, By::Owner, Some(Focus::new("peek", &["^peek$"]).unwrap()));
    assert_eq!(rows(&inside), [("oracle", vec![700.0, 2_100.0])]);
    assert_eq!(inside.levels[0].outside.as_ref().map(|outside| outside.value), Some(150_000.0));
}

#[test]
fn a_level_that_was_not_followed_is_not_measured_and_says_why() {
    let mut run = run();
    let table = waits(&run, By::Owner, None);
    assert!(table.levels[2].total.is_none() && table.levels[2].missing.is_some());
    let text = terminal(&hot_report(&table), 120);
    assert!(
        text.contains("the threads and tasks that carry the queries were not followed (sweep --follow 2s)"),
        "{text}"
    );
    // As runs of earlier versions are.
    run.windows.iter_mut().for_each(|window| window.hands = None);
    let run = stored(&run, |_| {});
    let text = terminal(&hot_report(&waits(&run, By::Owner, None)), 120);
    assert!(text.contains("Not measured: the threads and tasks that carry the queries were not followed"), "{text}");
    assert_eq!(
        section(&run).notes,
        ["Not divided: the threads and tasks that carry the queries were not followed (sweep --follow 2s)."]
    );
}

#[test]
fn a_stored_run_gives_the_same_in_whatever_order_its_stacks_are_packed() {
    let (run, run_again) = (run(), stored(&run(), |_| {}));
    assert_eq!(section(&run_again), section(&run));
    assert_eq!(rows(&waits(&run_again, By::Owner, None)), rows(&waits(&run, By::Owner, None)));
    // Many, of which the later ones share more with the first than their neighbours do.
    let names: Vec<String> = (0..300).map(|n| format!("main;f{};g{};h{n}", n % 7, n % 3)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = (0..300).map(|n| (key(State::Waiting, Some(n), None), u64::from(n) + 1)).collect();
    let many = build::run(vec![window(1, Some(hands(&names, 1, rows, vec![])))]);
    let read = stored(&many, |_| {});
    let stacks = read.windows[0].hands.as_ref().unwrap().stacks.as_ref().unwrap();
    for (number, sample) in stacks.samples.iter().enumerate() {
        let path: Vec<&str> =
            stacks.path(sample.stack).iter().map(|frame| stacks.frames[frame.index()].name.as_str()).collect();
        assert_eq!(path.join(";"), names[number]);
    }
}

#[test]
fn stacks_that_are_gone_or_damaged_cost_their_names_and_nothing_else() {
    let cases: [(&str, Damage); 3] = [
        ("is gone", &|directory| fs::remove_file(directory.join("hands.pb.gz")).unwrap()),
        ("is damaged", &|directory| {
            let path = directory.join("hands.pb.gz");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("not the one that belongs", &|directory| {
            let other = stored(&run(), |_| {});
            let stacks = build::hands::stacks(&STACKS[..1]);
            let small = Hands { stacks: Some(stacks), ..other.windows[0].hands.clone().unwrap() };
            stored(&build::run(vec![window(1, Some(small))]), |place| {
                fs::copy(place.join("hands.pb.gz"), directory.join("hands.pb.gz")).unwrap();
            });
        }),
    ];
    for (why, damage) in cases {
        let read = stored(&run(), damage);
        assert!(lacks(&read).unwrap().contains(why), "{why}: {:?}", lacks(&read));
        let told = text(section(&read));
        assert!(told.contains("the stacks could not be read, so functions have no names"), "{told}");
        let levels = divided(&read, &preset());
        let states: Vec<(State, f64)> = levels[&1].parts.iter().map(|part| (part.state, part.nanos)).collect();
        let expected =
            [(State::Waiting, 700e3), (State::Blocked, 150e3), (State::Running, 100e3), (State::Queued, 50e3)];
        assert_eq!(states, expected, "{why}");
        assert!(waits(&read, By::Owner, None).levels[0].missing.as_ref().unwrap().contains(why));
        assert!(read.windows[1].hands.as_ref().unwrap().stacks.is_some(), "the other window has its own");
    }
}

fn pictures(run: &Run, focus: Option<Focus>) -> (tempfile::TempDir, Pictures) {
    let directory = tempfile::tempdir().unwrap();
    let naming = Some(Naming::of(&preset(), &run.manifest));
    let (everything, foci) = (focus.is_none(), focus.into_iter().collect());
    let wanted = Wanted { everything, foci, naming, ..Wanted::default() };
    let written = write_pictures(run, &wanted, directory.path()).unwrap();
    (directory, written)
}

#[test]
fn a_picture_of_the_time_in_hand_has_all_of_it_and_says_who_ended_each_wait() {
    let (_directory, written) = pictures(&run(), None);
    let drawn: Vec<_> = written.pictures.iter().filter(|picture| picture.what == "all in hand").collect();
    assert_eq!(drawn.iter().map(|picture| picture.level).collect::<Vec<_>>(), [1, 16]);
    assert!(written.left_out.contains(&"level 64, all in hand: no profile, nothing was drawn".to_string()));
    let svg = fs::read_to_string(&drawn[1].path).unwrap();
    for title in [
        "all (3,000 µs in hand per query, 100 % of all time in hand)",
        "[runs on a CPU] (300 µs in hand per query, 10.0 % of all time in hand)",
        "[ready, not polled yet] (150 µs in hand per query, 5.00 % of all time in hand)",
        "oracle (2,100 µs in hand per query, 70.0 % of all time in hand)",
        "ended by task batches, in answer (2,100 µs in hand per query, 70.0 % of all time in hand)",
        "ended by a thread, in flush (450 µs in hand per query, 15.0 % of all time in hand)",
        "serve (2,550 µs in hand per query, 85.0 % of all time in hand)",
    ] {
        assert!(svg.contains(&format!("<title>{title}")), "{title} in\n{svg}");
    }
    assert!(!svg.contains("<title>tokio"), "the runtime is folded");
    assert!(svg.contains("Level 16: 3,000 µs in hand per query (20261122-101530-testbed)"));
    assert!(svg.contains("1,000 queries, 1,000 q/s, in 1.00 s of their own after the window"));
    assert!(
        svg.contains("100.0 % of the waits on complete stacks, of 100.0 % it is known who ended them, 0 events lost")
    );
}

#[test]
fn a_focus_has_the_waits_under_it_and_a_run_without_carriers_no_such_picture() {
    let (_directory, written) = pictures(&run(), Some(Focus::new("peek", &["^peek$"]).unwrap()));
    let drawn = written.pictures.iter().find(|picture| picture.what == "peek in hand" && picture.level == 1).unwrap();
    let svg = fs::read_to_string(&drawn.path).unwrap();
    assert!(svg.contains("Level 1: 700 µs in hand per query in peek, 300 outside ("), "{svg}");
    let without = build::run(vec![window(1, None)]);
    let (_directory, written) = pictures(&without, None);
    assert!(written.left_out.iter().all(|why| !why.contains("in hand")), "{:?}", written.left_out);
}

/// As many queries in hand at once by the sockets as this, 8 by the carriers; so many events lost.
fn seen_with(at_sockets: u64, lost: u64) -> Hands {
    let waits = key(State::Waiting, None, None);
    let mut found = hands(&[], 1_000, vec![(waits, 8_000_000_000)], vec![]);
    found.facts.at_sockets = Some(AtSockets { nanos: 2 * at_sockets, queries: 2_000, span: 2_000_000_000 });
    found.facts.report.lost = lost;
    found
}

#[test]
fn carriers_that_have_another_time_than_the_sockets_and_lost_events_warn() {
    let sound = check(|w| w.hands = Some(seen_with(8_350_000_000, 10)));
    assert_eq!(bad(&sound), [], "less than a twentieth apart, a thousandth lost");
    fires("carried_time", Status::Warn, json!({ "at_sockets": 10.0, "carried": 8.0 }), |w| {
        w.hands = Some(seen_with(10_000_000_000, 0));
    });
    fires("lost_events", Status::Warn, json!({ "events": 10_000, "lost": 200 }), |w| {
        w.hands = Some(seen_with(8_000_000_000, 200));
    });
    let mut unseen = seen_with(8_000_000_000, 0);
    unseen.facts.at_sockets = None;
    assert_eq!(bad(&check(|w| w.hands = Some(unseen))), [("unchecked", Status::NotMeasured)]);
}
