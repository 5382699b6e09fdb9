//! Who reads the last 25 lines alone knows the cause: for each kind of cause that `scripts/score` plants, in a run that
//! is constructed as if it were planted, the words of the cause and the function, wait, table or process stand in them,
//! at a width of 80 columns.

use crate::build;
use crate::build::carried::{HandsBuilder, WORKER, behind};
use crate::diagnose::{Made, one, one_as_cheap, sixteen};
use crate::diagnose_waits;
use crate::sweeps::Place;
use wireprof::carriers::{State, Who};
use wireprof::check::Check;
use wireprof::clock::Span;
use wireprof::metrics::Scrape;
use wireprof::profile::{Builder, Labels, off_cpu_columns};
use wireprof::render::ANSWER_LINES;
use wireprof::run::{Expositions, OffCpu, Run, Store, Window};
use wireprof::sample::OffCpuReport;
use wireprof::statements::{LockSum, LockWaits, WaitedLock};

const WIDTH: usize = 80;

/// A run, and what the server's metrics were at its windows' ends.
struct Measured {
    run: Run,
    scrapes: Vec<[Scrape; 2]>,
}

impl From<Vec<Window>> for Measured {
    fn from(windows: Vec<Window>) -> Self {
        Measured { run: build::run(windows), scrapes: Vec::new() }
    }
}

/// The last lines of what a verb prints of the run, as one line.
fn last_lines(Measured { mut run, scrapes }: Measured, preset: &str) -> String {
    run.manifest.preset = preset.into();
    run.manifest.order = run.windows.iter().map(Window::id).collect();
    let place = Place::new();
    let mut writer = Store::new(place.runs()).create(run.manifest).unwrap();
    for (at, window) in run.windows.iter_mut().enumerate() {
        let scraped = scrapes.get(at);
        window.facts.scrapes = scraped.map(|scrapes| scrapes.each_ref().map(|scrape| scrape.span));
        let scraped = scraped.map(|[before, after]| Expositions { before, after, series: None, followed: None });
        writer.write_window(window, scraped).unwrap();
    }
    writer.finish("complete").unwrap();
    let answer = place.run(&["runs", "latest", "--width", &WIDTH.to_string()]);
    assert!(answer.out.lines().count() <= ANSWER_LINES, "{}{}", answer.out, answer.err);
    let wide: Vec<&str> = answer.out.lines().filter(|line| line.chars().count() > WIDTH).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    answer.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A run of these levels, the cause being at the last.
fn made(levels: &[Made]) -> Measured {
    let scrapes = levels.iter().map(Made::scrapes).collect();
    Measured { run: build::run(levels.iter().map(Made::window).collect()), scrapes }
}

/// One window in which each of sixteen queries' threads waits so long there, in us.
fn waits(preset: &'static str, stack: &'static str) -> Window {
    diagnose_waits::Made { preset, waits: vec![(stack, 2_000.0)], ..diagnose_waits::plain(16) }.window()
}

/// Workers of the runtime that are blocked in a call.
fn starved() -> Measured {
    let mut found = made(&[one_as_cheap(), Made { latency: 800.0, blocked: 89.0, ..sixteen() }]);
    let window = &mut found.run.windows[1];
    let mut builder = Builder::new(off_cpu_columns());
    let frames = ["serve", "planted_blocking_wait", "clock_nanosleep", "k:do_nanosleep"].map(build::frame);
    let frames: Vec<_> = frames.into_iter().map(|frame| builder.frame(frame)).collect();
    let stack = builder.stack(frames);
    let labels = builder.labels(Labels { tid: 11, thread: "tokio:work-0".into(), ..Labels::default() });
    builder.sample(stack, labels, None, vec![20_000, 1_700_000_000, 0]);
    let report = OffCpuReport { span: window.facts.span, ..OffCpuReport::default() };
    window.off_cpu = Some(OffCpu { report, profile: Some(builder.finish()) });
    found
}

/// Followed seconds of a query that waits so long, in us.
fn in_hand(waited: f64, hands: HandsBuilder) -> Window {
    let made = diagnose_waits::Made { waits: vec![("app::elsewhere;wait4", waited)], ..diagnose_waits::plain(16) };
    let mut window = made.window();
    (window.off_cpu, window.hands) = (None, Some(hands.part(State::Running, "", 30.0, None, &[]).finish()));
    window
}

fn channel() -> Measured {
    let slept = behind(Who::Interrupt, State::Outside, "", 1_900.0, vec![]);
    let chain = [behind(WORKER, State::Waiting, "poll;app::Worker::run;app::answer_in_time", 1_900.0, vec![slept])];
    let wait = "poll;app::planted_channel;tokio::sync::oneshot::Receiver::poll";
    vec![in_hand(1_900.0, HandsBuilder::new(100).part(State::Waiting, wait, 1_900.0, None, &chain))].into()
}

fn hogs() -> Measured {
    let mut made = diagnose_waits::Made { waits: vec![("app::elsewhere;wait4", 500.0)], ..diagnose_waits::plain(1) };
    made.cpu = vec![("app::planted_hog_work", 28.0), ("app::other", 2.0)];
    let mut window = made.window();
    let hands = HandsBuilder::new(100).part(State::Queued, "", 500.0, None, &[]);
    (window.off_cpu, window.hands) = (None, Some(hands.part(State::Running, "", 30.0, None, &[]).finish()));
    vec![window].into()
}

/// Sessions that update one row, as the server's locks tell.
fn one_row() -> Measured {
    let stack = "main;heap_update;XactLockTableWait;ProcSleep;WaitLatch;WaitEventSetWait;k:ep_poll";
    let mut window = waits("postgres", stack);
    let part = HandsBuilder::new(100).part(State::Blocked, stack, 2_000.0, None, &[]);
    let mut hands = part.part(State::Running, "", 30.0, None, &[]).finish();
    let lock =
        WaitedLock { kind: "transactionid".into(), tables: vec!["public.accounts".into()], mode: "ShareLock".into() };
    let sum = LockSum { lock, waiters: 140, most: 15, readings: 10, holders: Default::default() };
    hands.facts.locks = Some(LockWaits { span: Some(Span::new(0, 1)), readings: 10, locks: vec![sum] });
    window.hands = Some(hands);
    vec![window].into()
}

/// Sixteen clients whose queries spend so much CPU there.
fn on_cpu(stack: &'static str) -> Measured {
    let mut function = sixteen();
    (function.latency, function.server[0]) = (480.0, (stack, 42.0));
    made(&[one_as_cheap(), function])
}

fn coordinator() -> Measured {
    let server = vec![("serve;planted_coordinator_work", 100.0), ("serve;b", 2.0)];
    made(&[one(), Made { latency: 1_600.0, server, on_one_thread: 1.0, ..sixteen() }])
}

fn lock() -> Measured {
    let mut locked = Made { latency: 800.0, blocked: 89.0, ..sixteen() };
    locked.server.push(("serve;planted_lock;std::sys::sync::mutex::futex::Mutex::lock_contended", 1.0));
    made(&[one(), locked])
}

fn failing(check: Check) -> Measured {
    made(&[Made { checks: vec![check], ..sixteen() }])
}

/// A run, its preset, and what stands in its last lines.
type Case = (&'static str, Measured, &'static str, &'static [&'static str]);

fn of_the_testbed() -> Vec<Case> {
    let slow = Made { latency: 300.0, call: 250.0, wait: 255.0, ..one() };
    let statement = Made { statement: 205.0, database: 220.0, ..slow.clone() };
    let queued = Made { latency: 2_000.0, call: 30.0, wait: 1_900.0, ..sixteen() };
    let pool = Made { pool: 1_850.0, ..queued.clone() };
    let asking = Made { latency: 960.0, generator: 60.0, call: 20.0, wait: 20.0, at_database: 5.0, ..sixteen() };
    let beside = Made { latency: 320.0, taken: 1.0, waiting: 30.0, ..sixteen() };
    let (name, unit) = ("sessions started".into(), "sessions".into());
    let churn = Check::ServerChurn { name, unit, value: 99.0, at_most: 34.0 };
    let focus = Check::Focus { name: "peeks a query".into(), value: 0.2, at_least: 0.99, remedy: "r".into() };
    let cases: Vec<(&str, Measured, &[&str])> = vec![
        ("control", made(&[one(), sixteen()]), &["the CPUs are saturated"]),
        ("cpu:peek", on_cpu("serve;planted_peek_work"), &["one function", "CPU", "planted_peek_work, 42.0 µs a query"]),
        ("lock", lock(), &["queries wait for a lock", "planted_lock"]),
        ("database", made(&[statement]), &["the database behind the server takes long", "205 µs"]),
        ("path", made(&[slow]), &["the way to the database", "takes long"]),
        ("pool-size", made(&[pool]), &["wait for a connection of the pool"]),
        ("batches", made(&[queued]), &["queries wait for the next shared call"]),
        ("coordinator", coordinator(), &["one thread of the server is busy all the time", "planted_coordinator_work"]),
        ("allocate", on_cpu("serve;planted_allocations;malloc"), &["allocating and freeing memory", "planted_alloc"]),
        ("starve", starved(), &["calls that block hold the runtime's worker threads", "planted_blocking_wait"]),
        ("churn", failing(churn), &["sessions came and went", "sessions started"]),
        ("slow path", failing(focus), &["another code path was measured", "peeks a query"]),
        ("generator", made(&[one_as_cheap(), asking]), &["the load generator is the limit"]),
        ("hog", made(&[one_as_cheap(), beside]), &["other processes take the CPUs", "1.00 of the 2 CPUs"]),
    ];
    cases.into_iter().map(|(name, run, wanted)| (name, run, "testbed", wanted)).collect()
}

fn of_others() -> Vec<Case> {
    let one_window = |preset, stack| Measured::from(vec![waits(preset, stack)]);
    let lock = one_window("generic", "serve;take;pthread_mutex_lock;k:do_futex;k:futex_wait");
    let sleep = one_window("generic", "serve;fetch;usleep;clock_nanosleep;k:do_nanosleep");
    let flush = one_window("generic", "serve;store;fdatasync;k:do_fsync;k:ext4_sync_file");
    let disk = one_window("generic", "serve;load;pread64;k:filemap_read;k:folio_wait_bit_common;k:io_schedule");
    vec![
        (
            "channel",
            channel(),
            "generic",
            &["a query waits 1.90 ms in planted_channel", "planted_channel", "answer_in_time"],
        ),
        ("hogs", hogs(), "generic", &["tasks that are ready wait for a worker", "planted_hog_work"]),
        ("std-mutex", lock, "generic", &["queries wait for a lock", "take"]),
        ("sleep", sleep, "generic", &["the server sleeps while it has queries", "fetch"]),
        ("flush", flush, "generic", &["queries wait until their data is on the disk", "store"]),
        ("disk", disk, "generic", &["queries wait for files to be read or written", "load"]),
        ("one row", one_row(), "postgres", &["wait for each other's locks", "public.accounts", "XactLockTableWait"]),
    ]
}

#[test]
fn a_reader_of_the_last_25_lines_knows_the_cause_and_where_it_is() {
    for (name, run, preset, wanted) in of_the_testbed().into_iter().chain(of_others()) {
        let text = last_lines(run, preset);
        println!("{name}: {}", &text[text.find("Why").unwrap()..]);
        for words in wanted {
            assert!(text.contains(words), "{name}: no `{words}` in: {text}");
        }
    }
}
