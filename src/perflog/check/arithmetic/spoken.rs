//! Changes that sentences say: "12,300 -> 14,100 q/s (+14 %)", "fell by 13 % from 1.3 to 1.1 ms". Invariant: only a
//! figure that stands right beside its two figures is held against them.

use super::change::Said;
use super::grid::Value;
use super::head::Form;
use super::sentence::{Sentence, Step};
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::{Dimension, is_one_of};

/// Words that may stand between a change and what it is of.
const GLUE: &str = concat!(
    "a an or so that is thus hence up down by which it s i e about roughly only just ie this was from ",
    "more less faster slower higher lower better worse fewer another",
);

const UP: &str = "rose rises grew grows increased increases climbed climbs doubled";
const DOWN: &str = "fell falls dropped drops decreased decreases shrank sank reduced reduces halved";
/// Words before a figure that may say where it goes.
const NEAR: usize = 6;
/// Words behind a change that say that it is of something else.
const OF_ELSE: &str = "since vs against over compared relative of on than versus in";
/// What is said in a sentence that does not say how it is.
const UNREAL: &str = concat!(
    "not don didn doesn isn wasn never would should if expected expect predicted could instead unless neither nor ",
    "might goal",
);

/// Tells of all steps of a sentence; `place` is the log's byte of a byte of it.
pub fn check(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    for step in &sentence.steps {
        direction(sentence, step, place, told);
        for index in beside(sentence, step) {
            claim(sentence, index, place, told);
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_string).collect()
}

fn is_glue(text: &str) -> bool {
    let quiet = text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "(,:=≈~[-–—'.".contains(c));
    quiet && words(text).iter().all(|word| is_one_of(word, GLUE))
}

/// Figures right beside the step that may be a change: those behind it, one after the other, and the one before it.
fn beside(sentence: &Sentence, step: &Step) -> Vec<usize> {
    let mut found = Vec::new();
    let mut index = step.last;
    while index + 1 < sentence.figures.len()
        && is_glue(sentence.between(index))
        && is_change(sentence, index + 1, sentence.between(index).contains('('))
    {
        index += 1;
        found.push(index);
    }
    if let Some(before) = step.first.checked_sub(1)
        && is_glue(sentence.between(before))
        && sentence.step_of(before).is_none()
        && (sentence.figures[before].sign.is_some() || says_direction(sentence, before).is_some())
        && is_change(sentence, before, false)
    {
        found.push(before);
    }
    found
}

/// Whether a figure can be said of a change: by its unit, its sign, the words around it.
fn is_change(sentence: &Sentence, index: usize, in_parentheses: bool) -> bool {
    let figure = &sentence.figures[index];
    let after = sentence.between(index);
    let goes_on = after.trim_start().starts_with(char::is_alphabetic);
    if goes_on && words(after).first().is_some_and(|word| is_one_of(word, OF_ELSE)) {
        return false;
    }
    let alone = after.trim_start().starts_with([')', ',', ';', '.', ':', ']', '/']) || after.trim().is_empty();
    let directed = says_direction(sentence, index).is_some();
    match figure.dimension() {
        Dimension::Factor => true,
        Dimension::Percent | Dimension::Points => figure.sign.is_some() || directed || in_parentheses && alone,
        Dimension::Time | Dimension::Rate => figure.sign.is_some() || directed && is_directed_after(after),
        _ => false,
    }
}

fn is_directed_after(after: &str) -> bool {
    words(after).first().is_some_and(|word| direction_of(word).is_some())
}

/// What a word says: more (1), less (-1), better or worse (0).
fn direction_of(word: &str) -> Option<i8> {
    match word {
        "more" | "higher" | "increase" | "rise" | "larger" | "longer" | "growth" => Some(1),
        "less" | "lower" | "fewer" | "decrease" | "drop" | "reduction" | "smaller" | "shorter" => Some(-1),
        "faster" | "slower" | "better" | "worse" | "improvement" | "gain" | "win" | "regression" | "speedup" => Some(0),
        _ if is_one_of(word, UP) => Some(1),
        _ if is_one_of(word, DOWN) => Some(-1),
        _ => None,
    }
}

/// By the word behind a figure, else by those right before it ("up 14 %", "fell by 14 %").
pub fn says_direction(sentence: &Sentence, index: usize) -> Option<i8> {
    let after = words(sentence.between(index));
    let before = words(sentence.before(index));
    let behind = after.first().and_then(|word| direction_of(word));
    let by = |back: usize| before.len().checked_sub(back).map(|at| before[at].as_str());
    let word = if by(1) == Some("by") { by(2) } else { by(1) };
    behind.or(match word {
        Some("up") => Some(1),
        Some("down") => Some(-1),
        Some(word) => direction_of(word),
        None => None,
    })
}

/// One change against the steps that it can be of: of those of a chain, one that it follows from is enough.
fn claim(sentence: &Sentence, index: usize, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let at = place(sentence.at + sentence.figures[index].at.start);
    let value = sentence.value(index);
    let steps = related(sentence, index);
    let said = said(sentence, index, &value, Form::Any);
    let fits: Vec<Option<bool>> = steps.iter().map(|(from, to, _)| said.agrees(from, to)).collect();
    let Some((from, to, either)) = steps.first() else { return };
    if fits.contains(&Some(true)) || value.vague || from.vague || to.vague {
        told.sound(at, Asked::Words);
    } else if fits.iter().all(Option::is_none) {
        told.unknown(at, Asked::Words, &value.text, "what it is a change of is not understood");
    } else {
        let turned = Said { loose: true, ..said.clone() };
        let mut found = said.contradiction(from, to);
        if turned.agrees(from, to) == Some(true) && !either {
            found.rule = Rule::Direction;
        }
        told.wrong(at, Asked::Words, found);
    }
}

/// The change that a figure says, with the direction that its words give it.
pub fn said(sentence: &Sentence, index: usize, value: &Value, form: Form) -> Said {
    let mut said = Said::new(value, form, false);
    let factor = said.form == Form::Factor;
    match says_direction(sentence, index).filter(|_| value.sign.is_none() && !factor) {
        Some(0) => (said.better, said.loose) = (true, true),
        Some(direction) => {
            said.value.sign = Some(if direction > 0 { '+' } else { '-' });
            said.value.interval = said.value.interval.scaled(f64::from(direction));
        }
        None => {}
    }
    said
}

/// The step that a change stands beside, and where several follow each other all that its figures make.
fn related(sentence: &Sentence, index: usize) -> Vec<(Value, Value, bool)> {
    let ahead: Vec<&Step> = sentence.steps.iter().filter(|step| step.last < index).collect();
    let Some(nearest) = ahead.last().filter(|step| beside(sentence, step).contains(&index)) else {
        return both(sentence.steps.iter().find(|step| step.first > index));
    };
    let mut found = both(Some(nearest));
    let mut first = *nearest;
    while let Some(before) = ahead.iter().find(|step| step.last == first.first) {
        first = before;
        found.push((first.from.in_unit_of(&nearest.to), nearest.to.clone(), false));
    }
    found
}

fn both(step: Option<&Step>) -> Vec<(Value, Value, bool)> {
    let Some(step) = step else { return Vec::new() };
    let mut found = vec![(step.from.clone(), step.to.clone(), step.either)];
    if step.either {
        found.push((step.to.clone(), step.from.clone(), true));
    }
    found
}

/// "fell from 1.1 to 1.3 ms", "1.3 ms, down from 1.1 ms".
fn direction(sentence: &Sentence, step: &Step, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    // What is said before the last comma is of something else.
    let clause = sentence.before(step.first).rsplit([',', ';', ':', '(']).next().unwrap_or("");
    let mut before = words(clause);
    before.drain(..before.len().saturating_sub(NEAR));
    let all = words(sentence.text);
    if all.iter().any(|word| is_one_of(word, UNREAL)) || step.either || step.from.vague || step.to.vague {
        return;
    }
    let says = |list: &str| before.iter().any(|word| is_one_of(word, list));
    let moves = |pair: &[String], way: &str| is_one_of(&pair[0], "went goes gone is are") && pair[1] == way;
    let goes = |way: &str| before.windows(2).any(|pair| moves(pair, way));
    let up = says(UP) || goes("up") || step.direction > 0;
    let down = says(DOWN) || goes("down") || step.direction < 0;
    let improved = says("improved improves");
    let lower_is_better = match step.to.dimension() {
        Dimension::Time => true,
        Dimension::Rate => false,
        _ => return,
    };
    let wanted = match (up, down, improved) {
        (true, false, false) => 1,
        (false, true, false) => -1,
        (false, false, true) if lower_is_better => -1,
        (false, false, true) => 1,
        _ => return,
    };
    let at = place(sentence.at + sentence.figures[step.first].at.start);
    let (rises, falls) = (step.to.interval.above(step.from.interval), step.from.interval.above(step.to.interval));
    if !(wanted > 0 && falls || wanted < 0 && rises) {
        told.sound(at, Asked::Part);
        return;
    }
    let (written, right) = if wanted > 0 { ("rises", "falls") } else { ("falls", "rises") };
    let found = Contradiction {
        rule: Rule::Direction,
        stands: format!("{written}: {}, then {}", step.from.said(), step.to.said()),
        right: format!("it {right}, or the figures stand the other way round"),
        why: "the words say the reverse of the figures".into(),
    };
    told.wrong(at, Asked::Part, found);
}
