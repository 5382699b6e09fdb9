//! The page on paper, in the dark, on a telephone and read aloud. Invariant: what is shown on one of them is shown on
//! all.

use crate::browser::Browser;
use crate::report_browser::in_view;
use crate::report_pictures::page;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Contrast of the texts that a person reads, as WCAG 2.1 defines it, over the colours behind them. Answers those below
/// `4.5`, and how many were looked at.
const CONTRAST: &str = r#"
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], below, opacity) => {
  const part = a * opacity;
  return [r, g, b].map((value, at) => value * part + below[at] * (1 - part));
};
const light = (rgb) => {
  const linear = rgb.map((value) => value / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const behind = (at) => {
  const above = at.parentElement ? behind(at.parentElement) : [255, 255, 255];
  return over(rgba(getComputedStyle(at).backgroundColor), above, 1);
};
const contrast = (ink, paper) => {
  const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const low = [];
let count = 0;
const judge = (at, ink, paper) => {
  count += 1;
  const found = contrast(ink, paper);
  const told = `${found.toFixed(2)} ${at.tagName} ${at.getAttribute('class')} ${at.textContent.slice(0, 40)}`;
  if (found < 4.5) low.push(told);
};
const shown = (at) => at.checkVisibility() && at.getClientRects().length > 0 && !at.closest('.heard, .skip');
const own = (at) => [...at.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
for (const at of document.querySelectorAll('body *')) {
  if (!shown(at) || !own(at) || at.closest('svg') || at.matches('option, optgroup, script')) continue;
  judge(at, over(rgba(getComputedStyle(at).color), behind(at), 1), behind(at));
}
for (const at of document.querySelectorAll('svg text')) {
  const paper = behind(at.closest('svg').parentElement);
  const box = at.closest('.bar') && at.previousElementSibling;
  const style = box && getComputedStyle(box);
  const below = box ? over(rgba(style.fill), paper, Number(style.opacity)) : paper;
  judge(at, over(rgba(getComputedStyle(at).fill), below, 1), below);
}
return [low, count];
"#;

/// The page hears of another medium with its next frame.
fn wait_for(browser: &Browser, script: &str, wanted: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while browser.run(script) != wanted {
        assert!(Instant::now() < until, "{} is not {wanted}", browser.run(script));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn strings(found: &Value) -> Vec<&str> {
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn texts_stand_out_in_the_light_and_in_the_dark() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    for (width, dark) in [(1300, false), (1300, true), (400, true)] {
        browser.media("screen", dark);
        browser.open(&path, width, 900);
        let paper = browser.run("return getComputedStyle(document.body).backgroundColor");
        assert_eq!(paper == "rgb(255, 255, 255)", !dark, "{paper}");
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; }); searchFlames('lock')");
        let found = browser.run(CONTRAST);
        assert_eq!(strings(&found[0]), Vec::<&str>::new(), "dark: {dark}");
        assert!(found[1].as_u64().unwrap() > 300, "{}", found[1]);
    }
}

#[test]
fn on_paper_every_level_and_every_table_is_there_and_no_switch() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    let hidden = "return [...document.querySelectorAll('[data-level-panel], details > *, #flame-paper .frame')]\
                  .filter((at) => !at.checkVisibility({contentVisibilityAuto: true}))\
                  .map((at) => at.outerHTML.slice(0, 80))";
    let flames = "return [...document.querySelectorAll('.flame-title')].filter((at) => at.checkVisibility())\
                  .map((at) => at.textContent.split(':')[0]).join()";
    let switches = "return [...document.querySelectorAll('nav, .controls, .switch')]\
                    .filter((at) => at.checkVisibility()).length";
    browser.media("screen", true);
    browser.open(&path, 1300, 900);
    let before = browser.run(hidden);
    assert!(strings(&before).len() > 5, "on the screen much is closed: {before}");
    assert_eq!(browser.run(flames), "Level 16");
    browser.media("print", true);
    wait_for(&browser, flames, "Level 16,Level 1");
    assert_eq!(strings(&browser.run(hidden)), Vec::<&str>::new());
    assert_eq!(browser.run(switches), 0);
    assert_eq!(browser.run("return getComputedStyle(document.body).color"), "rgb(0, 0, 0)", "dark screens print light");
    let found = browser.run(CONTRAST);
    assert_eq!(strings(&found[0]), Vec::<&str>::new());
    browser.media("screen", true);
    wait_for(&browser, flames, "Level 16");
    assert_eq!(browser.run(hidden), before, "the screen is as it was");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn on_a_telephone_nothing_is_wider_than_the_screen_whatever_is_open() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.media("screen", false);
    browser.open(&path, 400, 860);
    assert!(in_view(&browser, "#answer-title"));
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })");
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 400);
    let cut = "return [...document.querySelectorAll('#functions-table td')]\
               .filter((at) => at.getBoundingClientRect().right > innerWidth).length";
    assert_eq!(browser.run(cut), 0, "all costs of a function are seen at once");
}

#[test]
fn every_picture_is_told_and_every_control_has_a_name() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.open(&path, 1300, 900);
    let silent = "const named = (at) => (at.getAttribute('aria-label') || '').length > 3; \
        return [...document.querySelectorAll('svg, [role=img], [role=group], [role=region], nav')]\
        .filter((at) => !named(at)).map((at) => at.outerHTML.slice(0, 80))";
    assert_eq!(strings(&browser.run(silent)), Vec::<&str>::new());
    let nameless = "const named = (at) => (at.getAttribute('aria-label') || at.textContent || '').trim() || \
        (at.labels && at.labels.length && at.labels[0].textContent.trim()); \
        return [...document.querySelectorAll('button, a, input, select, summary')]\
        .filter((at) => !named(at)).map((at) => at.outerHTML.slice(0, 80))";
    assert_eq!(strings(&browser.run(nameless)), Vec::<&str>::new());
    // Behind the charts of each part there is a table, and each table has a head.
    for part in ["speed", "where", "time"] {
        let tables = format!("return document.querySelectorAll('#{part} table').length");
        assert!(browser.run(&tables).as_u64().unwrap() > 0, "{part}");
    }
    let headless = "return [...document.querySelectorAll('table')].filter((at) => !at.querySelector('th[scope=col]'))\
        .map((at) => at.outerHTML.slice(0, 80))";
    assert_eq!(strings(&browser.run(headless)), Vec::<&str>::new());
    // What colour says is said in words too.
    let growth = "return document.querySelector('#functions-table tbody td:last-child .heard').textContent";
    assert!(browser.run(growth).as_str().unwrap().contains("95 %"), "{}", browser.run(growth));
}

#[test]
fn tab_leads_through_the_page_in_its_order_and_into_a_flamegraph_once() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, path) = page();
    browser.open(&path, 1300, 900);
    let order = "return [...document.querySelectorAll('[tabindex]')].filter((at) => at.tabIndex > 0).length";
    assert_eq!(browser.run(order), 0, "nothing jumps the queue");
    browser.press("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.run("document.querySelector('#flame-reset').focus()");
    browser.press("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.closest('.flame') !== null"), true);
    browser.press("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.closest('.flame')"), Value::Null, "one stop, not a thousand");
}
