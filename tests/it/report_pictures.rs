//! What the page draws of a run in which everything was measured: every kind of flamegraph, the clients over time, and
//! the way from an evidence to its picture. Invariant: the run's figures are those that the tests assert.

use crate::browser::Browser;
use crate::build;
use crate::build::hands::{hands, key};
use crate::cli::Place;
use crate::diagnose_waits::{Made, plain};
use crate::report::page_by;
use crate::report_browser::{reached, text};
use std::path::PathBuf;
use wireprof::carriers::{State, Who};
use wireprof::run::{Run, Window};
use wireprof::wire::{QueryTimeline, Sample};

const LOCK: &str = "serve;lock;k:futex_wait";

/// Each of sixteen queries at once takes 10 ms: 2 ms on the network, 8 ms in the server's hands. One in two is traced.
fn traced(window: &mut Window) {
    let (start, clients) = (window.facts.span.start, window.facts.id.level as u64);
    let query = |number: u64| QueryTimeline {
        sent: start + number / (clients / 2).max(1) * 10_000_000,
        client: 1 + (number % clients) as u32,
        spent: [2_000_000, 0, 8_000_000, 0, 0],
        behind: None,
    };
    let hop = &mut window.wire.as_mut().unwrap().hops[0];
    let queries = (0..100 * (clients / 2).max(1)).map(query).collect();
    hop.sample = Some(Sample { hop: hop.hop.name.clone(), every: 2, lost: 0, queries });
}

fn measured(made: &Made) -> Window {
    let mut window = made.window();
    let off_cpu = window.off_cpu.as_mut().unwrap().profile.as_mut().unwrap();
    off_cpu.samples.iter_mut().for_each(|sample| sample.values[2] = sample.values[1] / 10);
    let rows = vec![
        (key(State::Waiting, Some(0), Some((Who::Interrupt, 1))), 2_000_000),
        (key(State::Running, None, None), 1_000_000),
    ];
    window.hands = Some(hands(&["main;serve;wait", "main;wake"], 1_000, rows, vec![]));
    traced(&mut window);
    window
}

/// Levels 1 and 16 with everything; at 16 queries wait for a lock.
pub fn everything() -> Run {
    let many = Made { waits: vec![(LOCK, 300.0)], ..plain(16) };
    let mut run = build::run(vec![measured(&plain(1)), measured(&many)]);
    run.manifest.order = run.windows.iter().map(Window::id).collect();
    run
}

/// Its page with every table, as the verb writes it.
pub fn page() -> (Place, PathBuf) {
    let place = Place::holding(everything());
    place.done(&["report", "--preset", "generic", "-o", "page.html"]);
    let path = place.path().join("page.html");
    (place, path)
}

/// Chooses in the list of kinds.
fn choose(browser: &Browser, kind: &str) {
    browser.click(&format!("#flame-kind option[value='{kind}']"));
    assert_eq!(browser.run("return document.querySelector('#flame-kind').value"), kind);
}

#[test]
fn every_kind_of_flamegraph_is_drawn_when_it_is_chosen_and_keeps_the_level() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.open(&path, 1300, 900);
    browser.click("#flames button[data-level='16']");
    let names = "return [...document.querySelectorAll('#flame .frame')].map((f) => f.textContent).join()";
    for (kind, title, frame) in [
        ("all blocked", "blocked", "lock"),
        ("all runnable", "runnable", "lock"),
        ("all in hand", "in hand per query", "wait"),
        ("all", "CPU per query", "tcp_recvmsg"),
    ] {
        choose(&browser, kind);
        let said = text(&browser, "#flame-title");
        assert!(said.starts_with("Level 16:") && said.contains(title), "{kind}: {said}");
        let shown = browser.run(names);
        assert!(shown.as_str().unwrap().contains(frame), "{kind}: {shown}");
    }
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn an_evidence_leads_to_its_flamegraph_at_its_level_with_its_function_marked() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.open(&path, 1300, 900);
    let found = "return [...document.querySelectorAll('#flame .found')].map((f) => f.textContent).join()";
    for (verdict, kind, function) in [("verdict-1", "all", "a,read"), ("verdict-2", "all in hand", "wait")] {
        browser.type_into("#flame-search", "serve");
        browser.click(&format!("#{verdict} .evidence a[data-kind='{kind}']"));
        assert!(reached(&browser, "#flames"), "the picture is in view");
        assert_eq!(browser.run("return document.querySelector('#flame-kind').value"), kind);
        assert!(text(&browser, "#flame-title").starts_with("Level 16:"), "{}", text(&browser, "#flame-title"));
        assert_eq!(browser.run(found), function, "{verdict}");
    }
    // What it is at another level is one more switch away, and the search stays.
    browser.click("#flames button[data-level='1']");
    assert!(text(&browser, "#flame-title").starts_with("Level 1:"), "{}", text(&browser, "#flame-title"));
    assert_eq!(browser.run("return document.querySelector('#flame-search').value"), "wait");
    // The link of an evidence of the higher level leads back there.
    browser.run("document.querySelector('#verdict-2 .evidence a[data-kind]').click()");
    assert!(text(&browser, "#flame-title").starts_with("Level 16:"), "{}", text(&browser, "#flame-title"));
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn every_evidence_leads_to_something_that_is_there() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.open(&path, 1300, 900);
    let links = "return [...document.querySelectorAll('.evidence li')].map((l) => \
                 [...l.querySelectorAll('a')].map((a) => [a.hash.slice(1), a.dataset.kind || '']))";
    let links = browser.run(links);
    let links = links.as_array().unwrap();
    assert!(links.len() > 3 && links.iter().all(|of_one| !of_one.as_array().unwrap().is_empty()), "{links:?}");
    for link in links.iter().flat_map(|of_one| of_one.as_array().unwrap()) {
        let there = format!(
            "return !!document.getElementById({id}) && (!{kind} || [...document.querySelector('#flame-kind').options]\
             .some((o) => o.value === {kind}))",
            id = link[0],
            kind = link[1]
        );
        assert_eq!(browser.run(&there), true, "{link}");
    }
}

#[test]
fn clients_over_time_are_drawn_by_place_and_told_by_seconds() {
    let page = page_by(&everything(), "generic");
    let spoken = "clients by place, on average of 16 clients: 3.20 with the request on the network, 0 unread in the \
                  server's socket buffers, 12.8 in the server's hands";
    assert!(page.contains(&spoken.replace('\'', "&#39;")) || page.contains(spoken), "what is heard of the chart");
    assert!(page.contains("one query in 2 traced"));
    // Of the second, 20 slices; the first and the last lie within a latency of the ends.
    let area = page.split("class=\"area place-server\" d=\"").nth(2).unwrap().split('"').next().unwrap();
    assert_eq!(area.matches('V').count(), 2 * 18, "{area}");
    assert!(area.starts_with("M50.0 800V0H100.0"), "a fifth below it: {area}");
    let mut without = everything();
    without.windows.iter_mut().for_each(|window| window.wire.as_mut().unwrap().hops[0].sample = None);
    let page = page_by(&without, "generic");
    assert!(page.contains("clients by place: not measured by slice, for no query was traced."));
    assert!(!page.contains("class=\"area"));
}
