//! Texts with a part repeated many times. Invariant: four times the text takes no more than some four times as long,
//! and no stack overflows, however deep something is nested.

use super::{Target, text};
use crate::bounds::cpu_nanos;
use crate::feed::Feed;

/// Every reader of a text; they assert the same as on short ones, but for what takes its time itself.
const READERS: &[(&str, fn(&str))] = &[
    ("folded", |text| drop(crate::import::read_folded(text.as_bytes(), crate::import::Threads::First, "p", 1))),
    ("profile", |text| super::profiles::file(text.as_bytes())),
    ("exposition", |text| drop(crate::metrics::Exposition::parse(text))),
    ("difference", difference),
    ("selector", |text| drop(crate::metrics::Selector::parse(text))),
    ("expression", |text| drop(crate::preset::Expression::parse(text).map(|found| found.selectors().len()))),
    ("preset", |text| drop(crate::preset::Preset::parse("p", text))),
    ("ini", |text| super::workloads::ini(text.as_bytes())),
    ("pgbench", |text| super::workloads::pgbench(text.as_bytes())),
    ("sql", |text| drop(crate::workload::script::statements(text))),
    ("shape", |text| drop(crate::sql::without_constants(text))),
    ("dbbench", |text| drop(crate::load::parse_output(text))),
    ("connection", |text| drop(crate::connection::shown_connection(text))),
    ("arguments", |text| drop(crate::connection::without_secrets(text))),
    ("csv", |text| drop(crate::statements::read_csv(text, "p", crate::clock::Span::new(0, 1)))),
    ("log", |text| drop(crate::perflog::Document::parse(text.into()))),
    ("open", |text| drop(crate::perflog::open(&crate::perflog::Document::parse(text.into())))),
    ("prompt", |text| drop(crate::perflog::Prompt::parse(text.into()))),
    ("answer", |text| super::server::answer(text.as_bytes())),
];

fn difference(text: &str) {
    let scrape = |at| crate::metrics::Scrape { span: crate::clock::Span::new(at, at), text: text.to_string() };
    crate::metrics::MetricsDelta::between(&scrape(0), &scrape(1));
}

/// A reader's name on a line of its own (else its number); lengths of a beginning and of a part that is repeated, both,
/// and an end.
pub fn grown(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let named = |reader: &(&str, fn(&str))| bytes.strip_prefix(format!("{}\n", reader.0).as_bytes());
    let found = READERS.iter().find_map(|reader| Some((*reader, named(reader)?)));
    let (name, reader) = match found {
        Some((reader, rest)) => {
            feed = Feed(rest);
            reader
        }
        None => READERS[usize::from(feed.byte()) % READERS.len()],
    };
    let (before, part) = (usize::from(feed.byte()), usize::from(feed.byte()).max(1));
    let (before, part) = (text(feed.take(before)).into_owned(), text(feed.take(part)).into_owned());
    if part.is_empty() {
        return;
    }
    let after = text(feed.0).into_owned();
    // Numbered, so that repeated lines are not all the same one.
    let grown = |size: usize| {
        let mut whole = before.clone();
        let mut number = 0;
        while whole.len() < size {
            match part.contains('#') && number % 2 == 0 {
                true => whole += &part.replace('#', &number.to_string()),
                false => whole += &part,
            }
            number += 1;
        }
        whole + &after
    };
    let time = |text: &str| {
        let began = cpu_nanos();
        reader(text);
        cpu_nanos() - began
    };
    let (short, long) = (grown(SHORT), grown(4 * SHORT));
    let (mut first, mut second) = (time(&short), time(&long));
    if is_steep(first, second) {
        // Not somebody else's doing.
        (first, second) = (first.max(time(&short)), second.min(time(&long)));
    }
    if is_steep(first, second) {
        // What is taken up once, beyond some length, is no growth: that goes on.
        let third = time(&grown(16 * SHORT));
        let told = format!("{first} ns for {SHORT} bytes, {second} for four times as many, {third} for sixteen times");
        assert!(!is_steep(second, third), "{name}: {told}");
    }
}

const SHORT: usize = 16 << 10;

fn is_steep(short: u64, long: u64) -> bool {
    long > 50_000_000 && long > 9 * short
}
