//! How fast the page answers, by the browser's own account (W3C "Event Timing": from a key or a click to the next
//! paint) and while it is scrolled. Invariant: other tests run beside these, so the quickest of some tries counts: that
//! is what the page itself takes.

use crate::browser::Browser;
use crate::build::*;
use crate::cli::Place;
use crate::recordings;
use crate::report::page_of;
use crate::report_browser::written;

/// What a person notices, in ms.
const NOTICED: f64 = 200.0;
const TRIES: usize = 12;

const WATCH: &str = "window.seen ||= []; \
    window.watch ||= new PerformanceObserver((list) => seen.push(...list.getEntries())); \
    watch.observe({type: 'event', durationThreshold: 16}); \
    return performance.now()";
/// The slowest event since an instant. The browser tells of events some time after they were painted, and never of
/// those that took less than 16 ms.
const SEEN: &str = "return new Promise((told) => { \
    const until = performance.now() + 1500; \
    const look = (more) => { \
        const own = seen.filter((entry) => entry.startTime >= FROM); \
        if (own.length && !more) return told(Math.max(...own.map((entry) => entry.duration))); \
        if (performance.now() > until) return told(0); \
        setTimeout(look, 250, own.length === 0); \
    }; \
    look(true); })";
/// From top to bottom by two thirds of a screen a frame; answers the longest task of the page meanwhile.
const SCROLL: &str = "return new Promise((told) => { \
    const tasks = [0]; \
    const watch = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration))); \
    watch.observe({type: 'longtask'}); \
    scrollTo(0, 0); \
    const step = () => { \
        const before = scrollY; \
        scrollBy({top: innerHeight * 2 / 3, behavior: 'instant'}); \
        if (scrollY > before) return requestAnimationFrame(step); \
        setTimeout(() => { watch.disconnect(); told(Math.max(...tasks)); }, 100); \
    }; \
    requestAnimationFrame(step); })";

/// Gives the widest frame above the bottom one a name.
const WIDEST: &str = "const wide = (frame) => parseFloat(frame.style.width); \
    [...document.querySelectorAll('#flame .frame')].slice(1).sort((a, b) => wide(b) - wide(a))[0].id = 'widest'";

/// ms from an act's slowest event to its paint; below 16 the browser tells none.
fn took(browser: &Browser, act: &dyn Fn(&Browser)) -> f64 {
    let from = browser.run(WATCH);
    act(browser);
    browser.run(&SEEN.replace("FROM", &from.to_string())).as_f64().unwrap()
}

/// Clears a field and types into it, key by key.
fn type_anew(browser: &Browser, css: &str, text: &str) {
    browser.run(&format!("document.querySelector({css:?}).value = ''"));
    browser.type_into(css, text);
}

/// A name for people, and what a person does.
type Act<'a> = (&'a str, Box<dyn Fn(&Browser) + 'a>);

/// What a person does on the page; `name` is part of the names of many functions.
fn acts(levels: [usize; 2], name: &str) -> Vec<Act<'_>> {
    let click = |css: &'static str| -> Box<dyn Fn(&Browser)> { Box::new(move |browser| browser.click(css)) };
    vec![
        ("sort by growth", click("#functions-table button[data-sort='-2']")),
        ("filter", Box::new(move |browser| type_anew(browser, "#functions-filter", name))),
        (
            "more functions",
            Box::new(|browser| {
                browser.run("filterFunctions('')");
                browser.click("#functions-more");
            }),
        ),
        (
            "another level",
            Box::new(move |browser| {
                for level in levels {
                    browser.click(&format!("#flames button[data-level='{level}']"));
                }
            }),
        ),
        ("search", Box::new(move |browser| type_anew(browser, "#flame-search", name))),
        (
            "zoom",
            Box::new(|browser| {
                browser.run(WIDEST);
                browser.click("#widest");
                browser.click("#flame-reset");
            }),
        ),
        ("a table", click("#time [data-level-panel]:not([hidden]) summary")),
    ]
}

/// Does all of it, and scrolls.
fn assert_quick(browser: &Browser, levels: [usize; 2], name: &str) {
    let mut told = Vec::new();
    for (what, act) in acts(levels, name) {
        let mut tries: Vec<f64> = Vec::new();
        while tries.len() < TRIES && tries.iter().all(|took| *took >= NOTICED) {
            tries.push(took(browser, &act));
        }
        assert!(tries.iter().any(|took| *took < NOTICED), "{what}: {tries:?} ms");
        told.push((what, tries));
    }
    // Else the browser told nothing at all.
    assert!(told.iter().any(|(_, tries)| tries.iter().any(|took| *took > 0.0)), "{told:?}");
    let scrolled: Vec<f64> = (0..3).map(|_| browser.run(SCROLL).as_f64().unwrap()).collect();
    assert!(scrolled.iter().any(|longest| *longest < NOTICED), "{scrolled:?} ms");
    eprintln!("ms to the next paint: {told:?}; longest tasks while scrolling: {scrolled:?}");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn a_page_of_thousands_of_functions_with_names_of_kilobytes_answers_before_a_person_notices() {
    let Some(browser) = Browser::start() else { return };
    let long = |at: u64| format!("f_{at}::{}call", "part_of_a_long_name::".repeat(100));
    let stacks: Vec<String> = (0..4_000).map(|at| format!("main;serve;caller_{};{}", at % 50, long(at))).collect();
    let samples: Vec<Stack> = stacks.iter().enumerate().map(|(at, stack)| Stack(stack, at as u64)).collect();
    let windows = [1, 16].map(|level| window(level, 1, 5, 10_000, Some(profile(&samples))));
    let (_folder, path) = written(&page_of(&run(windows.to_vec())));
    browser.open(&path, 1300, 900);
    assert_quick(&browser, [1, 16], "f_39");
}

#[test]
fn the_page_of_a_real_environmentd_answers_before_a_person_notices() {
    let Some(recorded) = recordings::run_of_environmentd() else { return };
    let Some(browser) = Browser::start() else { return };
    let place = Place::new();
    place.done(&["report", recorded.to_str().unwrap(), "-o", "page.html"]);
    for (width, height) in [(1300, 900), (400, 860)] {
        browser.open(&place.path().join("page.html"), width, height);
        let answer = "const box = document.querySelector('#answer-title').getBoundingClientRect(); \
                      return box.top >= 0 && box.bottom <= innerHeight";
        assert_eq!(browser.run(answer), true, "the answer is seen at once at {width}");
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), width);
    }
    browser.open(&place.path().join("page.html"), 1300, 900);
    assert_quick(&browser, [1, 64], "coord");
}
