//! What is open in a log: words that were never filled in, and next steps that entries name. Invariant: only people's
//! own words are read, and a step under a mark that says it is done is not open.

use super::document::{Document, lines};
use super::entry::TO_FILL_IN;
use super::steps::Prompt;
use serde::Serialize;

/// Something that an entry leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// Number of the entry's session.
    pub session: u64,
    /// Of the log, from 1.
    pub line: usize,
    /// `Conclusion: what follows ...`, or the step.
    pub text: String,
    /// It is a step to take, not a gap in the entry.
    pub step: bool,
}

/// What is open in all entries, in the order of the lines.
pub fn open(log: &Document) -> Vec<Open> {
    let mut found = Vec::new();
    for entry in log.entries() {
        let first = log.line_at(entry.range.start);
        let text = without_blocks(log, entry.range.clone());
        for (line, range) in lines(&text) {
            let words = text[range].trim();
            let here = |text: String, step| Open { session: entry.number, line: first + line - 1, text, step };
            if let Some((before, wanted)) = words.split_once(TO_FILL_IN) {
                let what = before.trim_matches(['*', ' ', '.']);
                found.push(here(format!("{what} is to be filled in: {}", wanted.trim_end_matches(['.', '_'])), false));
            } else if let Some((_, step)) = words.split_once("Next: ") {
                found.push(here(step.trim().to_string(), true));
            }
        }
        let steps = Prompt::parse(text);
        found.extend(steps.steps().iter().filter(|step| !step.done).map(|step| Open {
            session: entry.number,
            line: first + step.line - 1,
            text: step.text.clone(),
            step: true,
        }));
    }
    found.sort_by_key(|open| open.line);
    found
}

/// The text with generated parts emptied, line by line, so that lines keep their numbers.
fn without_blocks(log: &Document, range: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for (_, path_of) in lines(&log.text()[range.clone()]) {
        let at = range.start + path_of.start;
        let behind = log.blocks().partition_point(|block| block.whole.start <= at);
        let generated = log.blocks()[..behind].last().is_some_and(|block| block.whole.contains(&at));
        text += if generated { "\n" } else { &log.text()[at..range.start + path_of.end] };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_steps_of_entries_are_open_until_they_are_marked() {
        let text = "## Session 1: a\n\n<!-- wireprof:begin R results -->\nNext: generated\n<!-- wireprof:end R \
                    results -->\n\
                    **Conclusion.** It is faster. Next: try the pool.\n\n### Next steps\n\n- [done] one\n- two\n  \
                    more\n\n\
                    ## Session 2: b\n\n**Change.** _To fill in: what was changed._\n";
        let found = open(&Document::parse(text.into()));
        let told: Vec<_> = found.iter().map(|o| (o.session, o.line, o.text.as_str(), o.step)).collect();
        assert_eq!(
            told,
            [
                (1, 6, "try the pool.", true),
                (1, 11, "two more", true),
                (2, 16, "Change is to be filled in: what was changed", false)
            ]
        );
    }
}
