//! The list of next steps in a prompt: ` - ` items under a line such as `Immediate next steps (handoff):`. Invariant:
//! marking a step and adding one change nothing else, byte for byte.

use super::document::lines;
use super::markdown::{MARK, Markdown};
use std::ops::Range;

/// A prompt in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    steps: Vec<Step>,
}

/// An item of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From 1, over all lists of the prompt.
    pub number: usize,
    /// Line of its bullet, from 1.
    pub line: usize,
    /// With all its lines on one.
    pub text: String,
    /// It carries a mark that says so.
    pub done: bool,
    /// Where its words begin, behind the bullet.
    words: usize,
    /// Where its last line ends, without the line break.
    end: usize,
    /// Blanks and bullet before its words, for a step to add.
    bullet: String,
}

/// Why a step cannot be marked or added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoStep {
    /// The prompt has no list of steps.
    #[error("the prompt has no list under a line such as `Next steps:`")]
    NoList,
    /// The number of the step that was asked for, and how many steps there are.
    #[error("the prompt has no step {0}; it has {1}")]
    NoSuch(usize, usize),
    /// The step of this number carries a mark already.
    #[error("step {0} is marked as done already")]
    Done(usize),
}

impl Prompt {
    /// Finds the steps of a prompt.
    pub fn parse(text: String) -> Prompt {
        let steps = find(&text);
        Prompt { text, steps }
    }

    /// The whole prompt, byte for byte as it was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The steps of all lists, in the order in which they stand.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// With marks on these steps, so that nobody takes them up again.
    ///
    /// # Errors
    /// A step that is not there, or done already; nothing is marked then.
    pub fn with_done(&self, numbers: &[usize], session: Option<u64>) -> Result<Prompt, NoStep> {
        let in_session = session.map_or(String::new(), |number| format!(" in session {number}"));
        let mark = format!("[done{in_session}, not to be taken up again] ");
        let mut at = Vec::new();
        for number in numbers {
            let step = self.steps.iter().find(|step| step.number == *number);
            let step = step.ok_or(NoStep::NoSuch(*number, self.steps.len()))?;
            if step.done {
                return Err(NoStep::Done(*number));
            }
            at.push(step.words);
        }
        at.sort_unstable();
        at.dedup();
        let mut text = self.text.clone();
        at.iter().rev().for_each(|at| text.insert_str(*at, &mark));
        Ok(Prompt::parse(text))
    }

    /// With one more step at the end of the last list.
    ///
    /// # Errors
    /// There is no list.
    pub fn with_step(&self, words: &str) -> Result<Prompt, NoStep> {
        let last = self.steps.last().ok_or(NoStep::NoList)?;
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let line_break = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut text = self.text.clone();
        text.insert_str(last.end, &format!("{line_break}{}{words}", last.bullet));
        Ok(Prompt::parse(text))
    }

    /// What `after` changed, as a unified difference without context. `after` must come from this prompt by marks and
    /// additions.
    pub fn difference(&self, after: &Prompt, name: &str) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) = (self.text.lines().collect(), after.text.lines().collect());
        let mut text = format!("--- {name}\n+++ {name}\n");
        let added = new.len() - old.len();
        let at = self.steps.last().map_or(old.len(), |step| self.text[..step.end].lines().count());
        for (index, line) in new.iter().enumerate() {
            if (at..at + added).contains(&index) {
                text += &format!("@@ -{at},0 +{} @@\n+{line}\n", index + 1);
                continue;
            }
            let before = if index < at { index } else { index - added };
            if old[before] != *line {
                text += &format!("@@ -{} +{} @@\n-{}\n+{line}\n", before + 1, index + 1, old[before]);
            }
        }
        text
    }
}

/// Words with which a step says that it is done.
fn is_done(words: &str) -> bool {
    let words = words.to_lowercase();
    ["[done", "[x]", "~~", "done:", "**done"].iter().any(|mark| words.starts_with(mark))
}

/// Where its blanks, its bullet and the blanks behind it end.
fn bullet(line: &str) -> Option<usize> {
    let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
    let rest = &line[blanks..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let mark = match rest.as_bytes().get(digits)? {
        b'-' | b'*' | b'+' if digits == 0 => 1,
        b'.' | b')' if digits > 0 => digits + 1,
        _ => return None,
    };
    let behind = rest[mark..].len() - rest[mark..].trim_start_matches([' ', '\t']).len();
    (behind > 0).then_some(blanks + mark + behind)
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// A heading, or a line that ends in a colon, about next steps.
fn announces(line: &str) -> bool {
    let line = line.trim_start_matches(MARK).trim();
    let heading = line.trim_start_matches('#').starts_with([' ', '\t']) && line.starts_with('#');
    line.to_lowercase().contains("next steps") && (heading || line.trim_end_matches('*').ends_with(':'))
}

fn find(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // Prompts are free text: what is only indented is no code in them.
    let markdown = Markdown::of(text);
    // Indent of the list's bullets, once the first one has been seen.
    let mut list: Option<Option<usize>> = None;
    for (line, Range { start, end }) in lines(text) {
        let content = text[start..end].trim_end_matches(['\n', '\r']);
        if markdown.is_fenced(start) || content.trim().is_empty() {
            continue;
        }
        let (deep, behind) = (indent(content), bullet(content));
        match (list, behind) {
            (Some(of), Some(behind)) if of.is_none_or(|of| deep == of) => {
                list = Some(Some(deep));
                let words = content[behind..].to_string();
                let (number, done, end) = (steps.len() + 1, is_done(&words), start + content.len());
                let bullet = content[..behind].to_string();
                steps.push(Step { number, line, done, words: start + behind, end, bullet, text: words });
            }
            (Some(Some(of)), _) if deep > of => {
                if let Some(step) = steps.last_mut() {
                    step.text += &format!(" {}", content.trim());
                    step.end = start + content.len();
                }
            }
            _ => list = announces(content).then_some(None),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "Tune it. Below here, I have some immediate next steps to explore. Once done,\nupdate this \
                          prompt.\n - no step\n\n\
        Immediate next steps (handoff):\n - Run it with fixed pools:\n   `-max-active-conns N`.\n - [x] Old one\n\n - \
        Sweep `1,4`  \n\
        \x20  and capture:\n     - `a`\n\n   in the end.\n - Decide\n\nThat is all.\n - not a step\n";

    fn found(prompt: &Prompt) -> Vec<(usize, usize, bool, &str)> {
        prompt.steps().iter().map(|s| (s.number, s.line, s.done, s.text.as_str())).collect()
    }

    #[test]
    fn steps_are_the_items_under_their_heading_with_their_further_lines() {
        assert_eq!(
            found(&Prompt::parse(PROMPT.into())),
            [
                (1, 6, false, "Run it with fixed pools: `-max-active-conns N`."),
                (2, 8, true, "[x] Old one"),
                (3, 10, false, "Sweep `1,4`   and capture: - `a` in the end."),
                (4, 15, false, "Decide"),
            ]
        );
        let numbered = Prompt::parse("## Next steps\r\n\r\n1. a\r\n2) b\r\n## Else\r\n3. c\r\n".into());
        assert_eq!(numbered.steps().len(), 2);
        assert_eq!(
            numbered.with_step("c\nd").unwrap().text(),
            "## Next steps\r\n\r\n1. a\r\n2) b\r\n2) c d\r\n## Else\r\n3. c\r\n"
        );
    }

    #[test]
    fn a_mark_and_an_addition_change_nothing_else_and_are_shown() {
        let before = Prompt::parse(PROMPT.into());
        let after = before.with_done(&[3, 1], Some(49)).unwrap().with_step("Try it again").unwrap();
        let mark = "[done in session 49, not to be taken up again] ";
        let expected =
            PROMPT.replace("- Run it", &format!("- {mark}Run it")).replace("- Sweep", &format!("- {mark}Sweep"));
        assert_eq!(after.text(), expected.replace(" - Decide\n", " - Decide\n - Try it again\n"));
        assert_eq!(found(&after).iter().map(|s| s.2).collect::<Vec<_>>(), [true, true, true, false, false]);
        assert_eq!(
            before.difference(&after, "p"),
            format!(
                "--- p\n+++ p\n@@ -6 +6 @@\n- - Run it with fixed pools:\n+ - {mark}Run it with fixed pools:\n\
                 @@ -10 +10 @@\n- - Sweep `1,4`  \n+ - {mark}Sweep `1,4`  \n@@ -15,0 +16 @@\n+ - Try it again\n"
            )
        );
    }

    #[test]
    fn what_cannot_be_marked_says_why_and_nothing_is_marked() {
        let prompt = Prompt::parse(PROMPT.into());
        assert_eq!(prompt.with_done(&[1, 9], None), Err(NoStep::NoSuch(9, 4)));
        assert_eq!(prompt.with_done(&[2], None), Err(NoStep::Done(2)));
        assert_eq!(Prompt::parse("no list\n".into()).with_step("x"), Err(NoStep::NoList));
    }
}
