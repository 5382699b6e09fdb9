//! What a screen can show of a text: how wide it is, whether in colours, with which characters. Invariant: widths are
//! those of the text without colours, and no colour goes over the end of a line.

use crate::words::printable;
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;

/// What text is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Characters in a line.
    pub width: usize,
    /// Bold heads, and colours for what failed and passed.
    pub colour: bool,
    /// Characters beyond ASCII; without them our own have a spelling in ASCII.
    pub unicode: bool,
}

/// Our own characters beyond ASCII, and how they are spelt without.
const SPELT: &[(char, &str)] = &[
    ('µ', "u"),
    ('μ', "u"),
    ('±', "+-"),
    ('×', "x"),
    ('…', "~"),
    ('─', "-"),
    ('│', "|"),
    ('█', "#"),
    ('▏', "|"),
    ('▌', "#"),
];

/// Columns whose cells say how something came out.
const OUTCOMES: [&str; 2] = ["verdict", "checks"];
const BAD: [&str; 4] = ["FAIL", "REFUSED", "WRONG", "slower"];
const DOUBTFUL: [&str; 3] = ["warn", "limited", "unchecked"];
const GOOD: [&str; 4] = ["pass", "ok", "faster", "right"];

impl Screen {
    /// A text without colours, with all characters: for logs and other programs.
    pub fn plain(width: usize) -> Screen {
        Screen { width, colour: false, unicode: true }
    }

    /// A text in the characters of the screen, and nothing that would act on a terminal. What others named keeps its
    /// own letters.
    pub fn spelt<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = printable(text);
        if self.unicode || text.is_ascii() {
            return text;
        }
        let spelt = |c: char| SPELT.iter().find(|(known, _)| *known == c).map(|(_, ascii)| *ascii);
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            match spelt(c) {
                Some(ascii) => shown += ascii,
                None => shown.push(c),
            }
        }
        Cow::Owned(shown)
    }

    /// A line of a heading.
    pub fn heading(&self, line: &str) -> String {
        self.painted(line, Some(Style::new().bold()))
    }

    /// A cell's text, in the colour of what it says where its column is of outcomes.
    pub(super) fn cell(&self, key: &str, text: &str) -> String {
        self.painted(text, OUTCOMES.contains(&key).then(|| outcome(text)).flatten())
    }

    fn painted(&self, text: &str, style: Option<Style>) -> String {
        match style.filter(|_| self.colour && !text.is_empty()) {
            Some(style) => format!("{style}{text}{style:#}"),
            None => text.to_string(),
        }
    }
}

/// The worst that a cell says decides.
fn outcome(text: &str) -> Option<Style> {
    let says = |words: &[&str]| text.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word));
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    if says(&BAD) {
        Some(colour(AnsiColor::Red).bold())
    } else if says(&DOUBTFUL) {
        Some(colour(AnsiColor::Yellow))
    } else {
        says(&GOOD).then(|| colour(AnsiColor::Green))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_unicode_our_own_characters_are_spelt_and_others_stay() {
        let ascii = Screen { unicode: false, ..Screen::plain(80) };
        assert_eq!(ascii.spelt("12 µs ± 1, ██─ naïve"), "12 us +- 1, ##- naïve");
        assert_eq!(Screen::plain(80).spelt("µ"), "µ");
    }

    #[test]
    fn outcomes_have_their_colours_and_the_worst_decides() {
        let screen = Screen { colour: true, ..Screen::plain(80) };
        for (text, colour) in [("2 FAIL, 1 warn", "31"), ("1 warn", "33"), ("pass", "32"), ("slower (by slices)", "31")]
        {
            let shown = screen.cell("verdict", text);
            assert!(shown.contains(&format!("\u{1b}[{colour}m")) && shown.ends_with("\u{1b}[0m"), "{shown:?}");
        }
        assert_eq!(screen.cell("verdict", "undecided"), "undecided");
        assert_eq!(screen.cell("remedy", "FAIL"), "FAIL", "of another column");
        assert_eq!(Screen::plain(80).cell("verdict", "FAIL"), "FAIL");
    }
}
