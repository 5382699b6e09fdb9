//! A sentence with its figures, and those that are said as going from one to the other. Invariant: figures with no unit
//! of their own have that of the one they go to or come from.

use super::figure::{Figure, figures};
use super::grid::Value;
use super::unit::{Dimension, Unit};
use std::ops::Range;

pub struct Sentence<'a> {
    pub text: &'a str,
    /// Where it begins in its piece.
    pub at: usize,
    pub figures: Vec<Figure>,
    pub steps: Vec<Step>,
}

/// Two figures, one of which became the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub from: Value,
    pub to: Value,
    /// Numbers of the figures, as they stand.
    pub first: usize,
    pub last: usize,
    /// Which came first is not said.
    pub either: bool,
    /// `+1` where "up from" says it, `-1` for "down from".
    pub direction: i8,
}

/// The sentences of a text: split at full stops, semicolons and lists' marks.
pub fn sentences(text: &str) -> Vec<Sentence<'_>> {
    let mut found = Vec::new();
    let mut begin = 0;
    for (at, mark) in text.match_indices(['.', ';', '!', '?']) {
        let rest = &text[at + 1..];
        let ends = rest.starts_with(char::is_whitespace) && (mark == ";" || !abbreviates(&text[begin..at]));
        if ends || rest.is_empty() {
            found.push(begin..at + 1);
            begin = at + 1;
        }
    }
    found.push(begin..text.len());
    found
        .into_iter()
        .filter(|range| !text[range.clone()].trim().is_empty())
        .map(|range| Sentence::of(text, range))
        .collect()
}

fn abbreviates(before: &str) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("").to_lowercase();
    ["vs", "approx", "ca", "e.g", "i.e", "incl", "resp", "avg", "max", "min", "no", "c"]
        .contains(&word.trim_start_matches('('))
}

impl<'a> Sentence<'a> {
    fn of(text: &'a str, range: Range<usize>) -> Sentence<'a> {
        let at = range.start;
        let text = &text[range];
        let figures = figures(text);
        let mut sentence = Sentence { text, at, figures, steps: Vec::new() };
        sentence.steps = sentence.find_steps();
        sentence
    }

    /// The words between two figures that follow each other.
    pub fn between(&self, first: usize) -> &'a str {
        let end = self.figures[first].at.end;
        &self.text[end..self.figures.get(first + 1).map_or(self.text.len(), |next| next.at.start.max(end))]
    }

    /// The words before a figure, since the one before it.
    pub fn before(&self, index: usize) -> &'a str {
        if index == 0 { &self.text[..self.figures[0].at.start] } else { self.between(index - 1) }
    }

    pub fn value(&self, index: usize) -> Value {
        let figure = &self.figures[index];
        Value::of(figure, figure.unit.unwrap_or(Unit::PLAIN), self.text)
    }

    /// Whether a figure belongs to a step.
    pub fn step_of(&self, index: usize) -> Option<&Step> {
        self.steps.iter().find(|step| step.first == index || step.last == index)
    }

    pub fn lower(&self) -> String {
        self.text.to_lowercase()
    }

    fn find_steps(&self) -> Vec<Step> {
        // Figures in parentheses may stand between: "from 1.3 ms (session 4) to 1.1 ms".
        let firsts = |last: usize| (last.saturating_sub(3)..last).rev();
        (1..self.figures.len()).filter_map(|last| firsts(last).find_map(|first| self.step(first, last))).collect()
    }

    fn step(&self, first: usize, last: usize) -> Option<Step> {
        let span = self.figures[first].at.end..self.figures[last].at.start.max(self.figures[first].at.end);
        let words = without_parentheses(&self.text[span].to_lowercase());
        let words = words.trim_matches([' ', ',']);
        let from =
            || self.before(first).to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == "from");
        let (backward, either, direction) = match words {
            "->" | "→" | "=>" | "-->" | "⇒" | "—>" => (false, false, 0),
            "to" | "to about" | "to some" | "down to" | "up to" if from() => (false, false, 0),
            "up from" => (true, false, 1),
            "down from" => (true, false, -1),
            "instead of" | "was" | "previously" | "not" => (true, false, 0),
            "vs" | "vs." | "versus" | "against" | "compared to" | "compared with" => (true, true, 0),
            _ => return None,
        };
        let (one, other) = (&self.figures[first], &self.figures[last]);
        let signed = |figure: &Figure| figure.sign == Some('+');
        let unit = |own: &Figure, other: &Figure| own.unit.or(other.unit).unwrap_or(Unit::PLAIN);
        let alike = unit(one, other).dimension == unit(other, one).dimension;
        if !alike || signed(one) || signed(other) || one.dimension() == Dimension::Factor {
            return None;
        }
        let (one, other) = (Value::of(one, unit(one, other), self.text), Value::of(other, unit(other, one), self.text));
        let (from, to) = if backward { (other, one) } else { (one, other) };
        Some(Step { from, to, first, last, either, direction })
    }
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0;
    text.chars()
        .filter(|c| {
            depth += i32::from(*c == '(');
            let outside = depth == 0;
            depth -= i32::from(*c == ')');
            outside
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<(String, String)> {
        sentences(text)
            .iter()
            .flat_map(|s| &s.steps)
            .map(|step| (step.from.text.clone(), step.to.text.clone()))
            .collect()
    }

    #[test]
    fn steps_are_told_by_arrows_and_by_from_and_to() {
        let step = |from: &str, to: &str| (from.to_string(), to.to_string());
        assert_eq!(
            steps("16 clients: 12,300 -> 14,100 q/s (+14 %), mean 1,300 → 1,130 us."),
            [step("12,300", "14,100 q/s"), step("1,300", "1,130 us")]
        );
        assert_eq!(steps("It fell from 1.3 ms (session 4) to 1.1 ms."), [step("1.3 ms", "1.1 ms")]);
        assert_eq!(steps("Now 14,100 q/s, up from 12,300 q/s."), [step("12,300 q/s", "14,100 q/s")]);
        assert_eq!(steps("It takes 1.3 to 1.4 ms at 64 clients, 2 ms and 12 q/s."), []);
        assert_eq!(sentences("One 1.5 ms. Two; three vs. 4 ms. e.g. five. six").len(), 5);
    }
}
