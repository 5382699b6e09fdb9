//! What a target can do to those who follow its tasks and threads, and what is left of them when they end. Real
//! processes; skipped, with the reason printed, where the host does not permit the kernel's program.

use crate::follow::{Seen, Target, ask, follow, sampler, tasks_program, while_asked};
use crate::skip::skip;
use crate::sweeps::{Place, Running, is_root, signal, testbed};
use object::{Object, ObjectSegment, ObjectSymbol};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wireprof::run::{Part, Store};
use wireprof::sample::ebpf::EventRoom;
use wireprof::testbed::Options;

fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

/// The first byte of the function that wakers are cloned by, in the process's memory: 0xcc while it is probed.
fn first_byte(pid: u32) -> Option<u8> {
    let file = std::fs::read(format!("/proc/{pid}/exe")).unwrap();
    let elf = object::File::parse(&*file).unwrap();
    let named = |symbol: &object::Symbol| symbol.name().is_ok_and(|name| name.contains("5waker11clone_waker"));
    let address = elf.symbols().find(|symbol| symbol.is_definition() && named(symbol)).unwrap().address();
    let base = elf.segments().map(|segment| segment.address()).min().unwrap() & !0xfff;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let start = u64::from_str_radix(maps.lines().next()?.split('-').next()?, 16).unwrap();
    let mut byte = [0];
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut byte, address - base + start).ok()?;
    Some(byte[0])
}

const TRAP: u8 = 0xcc;

fn until(seconds: f64, wanted: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !wanted() && began.elapsed().as_secs_f64() < seconds {
        pause(0.02);
    }
    wanted()
}

/// The kernel's programs that follow, and all maps and links.
fn in_kernel() -> (usize, usize, usize) {
    let named =
        |name: &str| name.starts_with("follow_") || ["on_poll", "on_polled", "on_register", "on_wake"].contains(&name);
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    let ours = programs.filter(|program| program.name_as_str().is_some_and(named)).count();
    let maps = aya::maps::loaded_maps().filter_map(Result::ok).count();
    (ours, maps, aya::programs::loaded_links().filter_map(Result::ok).count())
}

/// The target answers, and its functions are as they were.
fn assert_well(target: &Target, byte: u8) {
    assert!(ask(&mut target.connect(), b's').is_ok(), "it answers no more");
    assert_eq!(first_byte(target.pid()), Some(byte), "a probe was left");
}

#[test]
fn nothing_that_a_target_does_while_it_is_followed_harms_it_or_those_who_follow() {
    let Some(mut sampler) = sampler(EventRoom::default()) else { return };
    let target = Target::start(&tasks_program());
    let byte = first_byte(target.pid()).unwrap();
    assert_ne!(byte, TRAP);
    // Many tasks that are woken twice, aborted or dropped; polls that panic, wait deep or recurse; many threads.
    for request in [b'h', b'p', b'd', b'r', b'T'] {
        let mut at_work = 0;
        let seen: Seen = while_asked(&target, b's', || {
            follow(&mut sampler, &target, true, || {
                at_work = first_byte(target.pid()).unwrap();
                let mut stream = target.connect();
                let asked = (0..3).map(|_| ask(&mut stream, request)).collect::<Result<Vec<_>, _>>();
                assert!(asked.is_ok(), "{}: {asked:?}", request as char);
            })
        });
        let (report, carried) = (&seen.followed.report, &seen.carried);
        println!(
            "{}: {report:?} {} contradictions, {} of {} ns unseen",
            request as char, carried.contradictions, carried.unseen, carried.nanos
        );
        assert_eq!((at_work, report.no_tasks.as_ref()), (TRAP, None), "{}", request as char);
        assert!(carried.answered >= 2, "{}: {report:?}", request as char);
        assert_eq!(carried.rows.values().map(|sum| sum.nanos).sum::<u64>(), carried.nanos);
        assert!(report.lost > 0 || carried.contradictions * 200 <= report.events, "{}: {report:?}", request as char);
        assert_well(&target, byte);
    }
}

#[test]
fn a_target_that_ends_or_becomes_another_program_while_it_is_followed_is_followed_until_then() {
    let Some(mut sampler) = sampler(EventRoom::default()) else { return };
    for request in [b'e', b'x'] {
        let mut target = Target::start(&tasks_program());
        let seen = while_asked(&target, b's', || {
            follow(&mut sampler, &target, true, || {
                pause(0.3);
                assert!(ask(&mut target.connect(), request).is_err());
                pause(0.3);
            })
        });
        assert!(seen.carried.answered > 20, "{}: {:?}", request as char, seen.followed.report);
        assert_eq!(target.has_ended(), request == b'e');
    }
}

/// A copy of the program, changed by one of the binutils; `None`, with the reason printed, where that is not installed.
fn changed(folder: &Path, name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let into = folder.join(name);
    let status = Command::new("objcopy").args(arguments).arg(tasks_program()).arg(&into).status();
    if !status.is_ok_and(|status| status.success()) {
        skip("no objcopy to change a target's symbols; install binutils");
        return None;
    }
    Some(into)
}

/// The symbols of a program that tell a function of tokio's wakers.
fn symbols_of(function: &str) -> Vec<String> {
    let file = std::fs::read(tasks_program()).unwrap();
    let elf = object::File::parse(&*file).unwrap();
    let names = elf.symbols().filter_map(|symbol| Some(symbol.name().ok()?.to_string()));
    names.filter(|name| name.contains(function)).collect()
}

#[test]
fn a_target_without_symbols_or_with_renamed_ones_costs_the_tasks_part_with_the_reason() {
    let Some(mut sampler) = sampler(EventRoom::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let renames: Vec<String> =
        symbols_of("5waker11clone_waker").iter().map(|name| format!("--redefine-sym={name}=other")).collect();
    let renames: Vec<&str> = renames.iter().map(String::as_str).collect();
    for (name, arguments, told) in
        [("stripped", &["--strip-all"][..], "stripped"), ("renamed", &renames, "no symbols of tokio's tasks")]
    {
        let Some(program) = changed(folder.path(), name, arguments) else { return };
        let target = Target::start(&program);
        let seen = while_asked(&target, b's', || follow(&mut sampler, &target, true, || pause(0.5)));
        let report = &seen.followed.report;
        assert!(report.no_tasks.as_ref().is_some_and(|why| why.contains(told)), "{name}: {report:?}");
        assert!(report.hits == 0 && seen.carried.answered > 20 && seen.carried.threads > 0, "{name}: {report:?}");
        assert_eq!(seen.carried.tasks, 0);
    }
}

#[test]
fn events_that_find_no_room_are_counted_and_nothing_is_invented_in_their_place() {
    let Some(mut sampler) = sampler(EventRoom { ring_bytes: 4096, ..EventRoom::default() }) else { return };
    let target = Target::start(&tasks_program());
    let seen = while_asked(&target, b'r', || {
        while_asked(&target, b't', || follow(&mut sampler, &target, true, || pause(2.0)))
    });
    let (report, carried) = (&seen.followed.report, &seen.carried);
    println!("{report:?} {} contradictions, {} of {} ns unseen", carried.contradictions, carried.unseen, carried.nanos);
    assert!(report.lost > 100 && report.events > 100, "{report:?}");
    assert_eq!(carried.rows.values().map(|sum| sum.nanos).sum::<u64>(), carried.nanos);
    // No wait is longer than the connections' time, and what was lost is seen to be lost.
    assert!(
        carried.nanos <= 2 * carried.span.nanos() && (carried.contradictions > 0 || carried.unseen > 0),
        "{report:?}"
    );
}

#[test]
fn following_ends_where_there_is_no_room_for_more_events() {
    let Some(mut sampler) = sampler(EventRoom { most: 2_000, ..EventRoom::default() }) else { return };
    let target = Target::start(&tasks_program());
    let seen = while_asked(&target, b'r', || follow(&mut sampler, &target, true, || pause(4.0)));
    let report = &seen.followed.report;
    assert!(report.events <= 2_000 && report.events > 1_000 && report.lost == 0, "{report:?}");
    assert!(
        seen.followed.events.last().unwrap().at < report.span.end && report.span.nanos() < 3_000_000_000,
        "{report:?}"
    );
    assert!(report.notes.iter().any(|note| note.contains("no room for more events")), "{report:?}");
}

/// A sweep of a server that runs on, with the followed seconds of its only level under way.
fn following(place: &Place, target: &wireprof::testbed::Testbed, levels: &str) -> Option<Running> {
    if !is_root() {
        skip("probes need root");
        return None;
    }
    let ready = &target.ready;
    let arguments = ["sweep", "--preset", "testbed", "--url", &ready.sql, "--metrics-url", &ready.metrics];
    let own = ["--internal-url", &ready.internal, "--levels", levels, "--window", "500ms", "--warmup", "100ms"];
    let sweep = place.command(&[&arguments[..], &own, &["--no-flamegraphs", "--follow", "20s"]].concat());
    let running = Running::start(sweep);
    assert!(until(60.0, || first_byte(ready.pid) == Some(TRAP)), "it is being followed");
    pause(1.0);
    Some(running)
}

#[test]
fn a_killed_wireprof_leaves_neither_probe_nor_program_and_an_interrupted_one_keeps_its_window() {
    let Some(target) = testbed(Options { arguments: vec!["--empty-catalog".into()], ..Options::default() }) else {
        return;
    };
    let (pid, others) = (target.ready.pid, in_kernel());
    let byte = first_byte(pid).unwrap();
    if others.0 > 0 {
        return skip("another sampler is at work");
    }
    for name in ["-KILL", "-INT"] {
        let place = Place::new();
        let Some(running) = following(&place, &target, "2,3") else { return };
        assert!(in_kernel().0 > 4, "its programs are seen");
        signal(running.id(), name);
        let answer = running.finish();
        assert!(until(20.0, || first_byte(pid) == Some(byte)), "{name}: a probe was left");
        assert!(until(20.0, || in_kernel() == others), "{name}: {:?}, before {others:?}", in_kernel());
        if name == "-KILL" {
            continue;
        }
        assert_eq!(answer.code, 1, "{}", answer.err);
        assert!(answer.err.contains("interrupted"), "{}", answer.err);
        let run = Store::new(place.runs()).load("latest").unwrap();
        assert!(run.manifest.ended.contains("cut short after 1 of 2 windows"), "{}", run.manifest.ended);
        let missing = &run.windows[0].facts.missing;
        assert!(run.windows.len() == 1 && run.windows[0].hands.is_none() && run.windows[0].load.completed > 0);
        assert!(missing.iter().any(|one| one.what == Part::Carriers && one.why.contains("interrupted")), "{missing:?}");
    }
}
