//! Pictures as files and in a browser: which ones a log entry gets, what they say of colours, and that their texts fit
//! on narrow and wide screens.

use crate::browser::Browser;
use crate::build::*;
use crate::cli::Place;
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;
use wireprof::analyze::cost::view::{ViewOptions, level_view};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Focus, Folding, Labels, Miss, Profile, Space, off_cpu_columns};
use wireprof::render::flamegraph::{Caption, Code, draw};
use wireprof::run::{OffCpu, Run, Window, WindowId};
use wireprof::sample::OffCpuReport;

/// A window with so many functions of unlike cost, and one wait.
fn large(level: usize, functions: usize) -> Window {
    let line = |at: usize| format!("main;serve;crate_{at}::module_of_some_length::Type::function {}\n", 50_000 + at);
    let text: String = (0..functions).map(line).collect();
    let mut window = window(level, 1, 5, 10_000, Some(folded(&text)));
    let start = window.facts.span.start;
    let report = OffCpuReport { span: Span::new(start, start + 5_000_000_000), waits: 1, ..OffCpuReport::default() };
    let mut waits = Builder::new(off_cpu_columns());
    let (frame, labels) = (waits.frame(frame("lock")), waits.labels(Labels::default()));
    let stack = waits.stack([frame]);
    waits.sample(stack, labels, None, vec![1, 5_000_000, 1_000_000]);
    window.off_cpu = Some(OffCpu { report, profile: Some(waits.finish()) });
    window
}

fn stored(levels: &[usize], functions: usize) -> Place {
    let mut made = run(levels.iter().map(|level| large(*level, functions)).collect());
    made.manifest.order = levels.iter().map(|level| WindowId { level: *level, replicate: 1 }).collect();
    Place::holding(made)
}

fn files(folder: &Path) -> BTreeSet<String> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_log_entry_has_the_cpu_and_the_waits_of_the_first_and_the_last_level_in_1_5_megabytes() {
    let place = stored(&[1, 4, 16, 64], 6_000);
    place.done(&["log", "new", "--title", "four levels"]);
    place.done(&["log", "attach"]);
    let (folder, id) = (place.path().join("flamegraphs"), "20261122-101530-testbed");
    let names = ["L0001-all.svg", "L0001-all-blocked.svg", "L0064-all.svg", "L0064-all-blocked.svg"];
    let expected: BTreeSet<String> =
        names.iter().map(|name| format!("{id}-{name}")).chain([format!("{id}-figures.md")]).collect();
    assert_eq!(files(&folder), expected);
    let size = |name: &str| folder.join(format!("{id}-{name}")).metadata().unwrap().len();
    let bytes: u64 = names.iter().map(|name| size(name)).sum();
    assert!((750_000..=1_500_000).contains(&bytes), "{bytes} bytes");
    let picture = std::fs::read_to_string(folder.join(format!("{id}-L0064-all.svg"))).unwrap();
    let said = Regex::new(r"([\d,]+) narrow frames not drawn, with ([\d.]+) % of the picture's weight").unwrap();
    let said = said.captures(&picture.replace("</tspan>", "").replace("<tspan", "")).map(|found| found[1].to_string());
    let left_out: usize = said.unwrap_or_else(|| panic!("{}", &picture[..2_000])).replace(',', "").parse().unwrap();
    assert_eq!(left_out + picture.matches("<title>").count(), 6_000 + 2);
    // Nobody asked for pictures in the run.
    assert!(!files(&place.runs().join(id)).contains("flamegraphs"));
    assert!(place.done(&["log", "check"]).contains("0 wrong"));
    place.done(&["log", "attach", "--all"]);
    // Three pictures and a profile of each level, and the copies of the figures.
    assert_eq!(files(&folder).len(), 4 * (3 + 1) + 1);
    assert!(size("L0064-all.svg") > 1_500_000);
}

#[test]
fn a_small_run_keeps_every_frame_in_its_entry() {
    let place = stored(&[1, 16], 100);
    place.done(&["log", "new", "--title", "small"]);
    place.done(&["log", "attach"]);
    let path = place.path().join("flamegraphs/20261122-101530-testbed-L0016-all.svg");
    let picture = std::fs::read_to_string(path).unwrap();
    assert_eq!((picture.matches("<title>").count(), picture.matches("not drawn").count()), (102, 0));
}

/// One frame of each kind, below the one that calls them.
fn mixed() -> Profile {
    let mut builder = Builder::new(wireprof::profile::on_cpu_columns());
    let labels = builder.labels(Labels::default());
    let root = frame("server_main");
    let library = wireprof::profile::Frame { module: "libc.so.6".into(), ..frame("malloc") };
    let unknown = wireprof::profile::Frame { miss: Some(Miss::NoSymbol), ..frame("server+0x1f") };
    let kernel = wireprof::profile::Frame { space: Space::Kernel, module: "[kernel]".into(), ..frame("do_send") };
    for leaf in [frame("work"), library, frame("tokio::runtime::park"), kernel, unknown] {
        let frames = [builder.frame(root.clone()), builder.frame(leaf)];
        let stack = builder.stack(frames);
        builder.sample(stack, labels, Some(1), vec![1, 1_000_000]);
    }
    builder.finish()
}

fn of(profile: Profile) -> Run {
    run(vec![window(16, 1, 5, 1_000, Some(profile))])
}

fn picture(run: &Run, focus: Option<&str>) -> String {
    let focus = focus.map(|pattern| Focus::new("part", &[pattern]).unwrap());
    let caption = Caption {
        run: "20261122-101530-testbed".into(),
        focus: focus.as_ref().map(|focus| focus.name.clone()),
        code: Code { program: Some("server".into()), runtime: Folding::of(&[Regex::new("^tokio::").unwrap()]) },
        ..Caption::default()
    };
    let options = ViewOptions { focus, ..ViewOptions::default() };
    draw(&level_view(16, &run.levels()[&16], &options).unwrap(), &caption).unwrap().svg
}

#[test]
fn each_kind_of_code_has_the_colour_that_the_legend_says() {
    let svg = picture(&of(mixed()), None);
    let entry = Regex::new(r#"<rect y="-11"[^>]*fill="rgb\((\d+),[^>]*><text x="18">([^<]*)</text>"#).unwrap();
    let legend: Vec<(String, f64)> =
        entry.captures_iter(&svg).map(|found| (found[2].to_string(), found[1].parse().unwrap())).collect();
    let words: Vec<&str> = legend.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["program", "libraries", "runtime", "kernel", "unknown (no symbols)"]);
    let frames = ["work", "malloc", "runtime::park", "do_send", "server+0x1f"];
    for (name, (word, red)) in frames.iter().zip(&legend) {
        let frame =
            Regex::new(&format!(r#"<title>{} \([^<]*</title><rect [^>]*fill="rgb\((\d+),"#, regex::escape(name)));
        let found: f64 = frame.unwrap().captures(&svg).unwrap_or_else(|| panic!("{name}: {svg}"))[1].parse().unwrap();
        // Every other box of a row is a shade darker.
        assert!(found == *red || found == (red * 0.93).round(), "{name} is no {word}: {found}, {red}");
    }
}

/// Texts that are cut though they would fit, that leave their box, or that stand on each other; and what is wider than
/// the window.
const WRONG: &str = r##"
const wrong = [], svg = document.documentElement, seen = text => text.getComputedTextLength() > 0;
for (const group of document.querySelectorAll("#frames > g")) {
    const text = group.querySelector("text"), box = group.querySelector("rect").getBoundingClientRect();
    const name = group.querySelector("title").textContent.split("\n")[0].replace(/ ?\([^(]*\)$/, "");
    const cut = text.textContent !== name, drawn = text.getBoundingClientRect();
    if (seen(text) && drawn.right > box.right + 0.5) wrong.push(`${name} leaves its box`);
    const whole = text.textContent;
    text.textContent = name;
    if (cut && text.getComputedTextLength() + 4 < box.width) wrong.push(`${name} is cut to ${whole}`);
    text.textContent = whole;
}
const head = [...document.querySelectorAll("#head tspan, #legend text, #search, #details")].filter(text =>
    text.textContent.trim());
const boxes = head.map(text => ({ text: text.textContent, box: text.getBoundingClientRect() }));
for (const [at, a] of boxes.entries()) {
    if (a.box.left < 0 || a.box.right > innerWidth) wrong.push(`${a.text} is not in the window`);
    for (const b of boxes.slice(at + 1)) {
        const apart = a.box.right <= b.box.left || b.box.right <= a.box.left
            || a.box.bottom <= b.box.top + 4 || b.box.bottom <= a.box.top + 4;
        if (!apart) wrong.push(`${a.text} stands on ${b.text}`);
    }
}
const frames = [...document.querySelectorAll("#frames rect")].map(rect => rect.getBoundingClientRect());
const lowest = Math.max(...boxes.map(({ box }) => box.bottom));
if (Math.min(...frames.map(box => box.top)) < lowest) wrong.push("frames stand on the head");
const widest = Math.max(...frames.map(box => box.width));
if (Math.abs(widest - (innerWidth - 20)) > 1) wrong.push(`the frames are ${widest} wide`);
if (document.scrollingElement.scrollWidth > innerWidth) wrong.push("it scrolls sideways");
return wrong;
"##;

#[test]
fn a_picture_is_as_wide_as_its_window_and_its_texts_fit() {
    let Some(browser) = Browser::start() else { return };
    let run = of(mixed());
    let wide = folded(&(0..40).map(|at| format!("main;serve;a::name{at};f {}\n", 1 << (at % 12))).collect::<String>());
    let wide = of(wide);
    let folder = tempfile::tempdir().unwrap();
    for (name, svg) in
        [("mixed", picture(&run, None)), ("wide", picture(&wide, None)), ("part", picture(&wide, Some("7$")))]
    {
        let path = folder.path().join(format!("{name}.svg"));
        std::fs::write(&path, svg).unwrap();
        for width in [400, 1_300] {
            browser.open(&path, width, 900);
            // inferno's script waits for the page.
            browser.run("return new Promise(done => setTimeout(done, 50))");
            let wrong = browser.run(WRONG);
            assert_eq!(wrong, serde_json::json!([]), "{name} at {width} px");
            assert!(browser.console().is_empty());
        }
    }
}
