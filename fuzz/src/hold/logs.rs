//! The performance log and prompts. Invariant: not a byte that a person wrote is lost or changed, whatever is added.

use super::memory;
use crate::perflog::{Document, Generated, Made, Prompt, check, decode, encode, open};
use crate::run::Store;

/// Whether `after` is `before` with one piece added, or one replaced.
fn is_one_addition(before: &str, after: &str) -> bool {
    let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    let rest = before.len() - same;
    after.len() >= before.len() && after.as_bytes()[after.len() - rest..] == before.as_bytes()[same..]
}

/// A log of any bytes: new entries, blocks put in twice, everything that reads it.
pub fn log(bytes: &[u8]) {
    let text = decode(bytes);
    assert_eq!(encode(&text), bytes, "every byte comes back");
    let log = Document::parse(text.clone());
    assert_eq!(log.text(), text);
    for entry in log.entries() {
        assert!(log.entry_at(entry.range.start).is_some() && !log.entry_text(entry).is_empty());
    }
    for block in log.blocks() {
        assert!(block.whole.start <= block.inside.start && block.inside.end <= block.whole.end, "{block:?}");
        assert!(!block.kind().is_empty() || block.key.is_empty());
        block.runs();
    }
    let number = log.next_number();
    let added = log.with_entry(&format!("## Session {number}: a\n\nWords.\n"));
    assert!(is_one_addition(&text, added.text()), "{text:?}\n{:?}", added.text());
    let block = Generated { key: "R1 results".into(), made: Made::now(), text: "| a |\n".into() };
    if let Ok(once) = log.with_block(&block, None) {
        assert_eq!(once.with_block(&block, None).as_ref().map(Document::text), Ok(once.text()), "twice is once");
        match log.blocks().iter().find(|earlier| earlier.key == block.key) {
            None => assert!(is_one_addition(&text, once.text()), "{text:?}\n{:?}", once.text()),
            Some(earlier) => {
                assert!(once.text().starts_with(&text[..earlier.whole.start]));
                assert!(once.text().ends_with(&text[earlier.whole.end..]));
            }
        }
        let kept = |log: &Document| log.blocks().iter().filter(|other| other.key != block.key).count();
        // What an open code block within the earlier one hid can be one, too.
        assert!(kept(&once) >= kept(&log), "the other blocks are there");
    }
    open(&log);
    check(&memory().join("log.md"), &log, &Store::new(memory().join("no-runs")), None);
}

/// A prompt of any bytes: marks and steps are added, and nothing else changes.
pub fn prompt(bytes: &[u8]) {
    let text = decode(bytes);
    let prompt = Prompt::parse(text.clone());
    assert_eq!(encode(prompt.text()), bytes);
    let open: Vec<usize> = prompt.steps().iter().filter(|step| !step.done).map(|step| step.number).collect();
    let mark = "[done in session 7, not to be taken up again] ";
    let marked = prompt.with_done(&open, Some(7)).expect("steps that are there");
    assert_eq!(marked.text().len(), text.len() + open.len() * mark.len());
    if !text.contains(mark) {
        assert_eq!(marked.text().replace(mark, ""), text, "but for the marks");
    }
    assert_eq!(marked.steps().len(), prompt.steps().len(), "no step is gone");
    assert!(marked.steps().iter().all(|step| step.done), "{:?}", marked.text());
    prompt.difference(&marked, "p");
    let Ok(added) = marked.with_step("Try\nit") else { return assert!(prompt.steps().is_empty()) };
    assert!(is_one_addition(marked.text(), added.text()));
    assert_eq!(added.steps().len(), prompt.steps().len() + 1, "{:?}", added.text());
    assert_eq!(added.steps().last().map(|step| step.text.as_str()), Some("Try it"));
    prompt.difference(&added, "p");
}
