//! What one sentence says together: clients, throughput and latency; quantiles; a part of its whole; CPU of cores; a
//! count, its rate and time. Invariant: a sentence that has several of a kind is not read.

use super::capacity;
use super::grid::Value;
use super::head::Quantity;
use super::interval::Interval;
use super::sentence::Sentence;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::{Dimension, Unit, grouped};
use super::{little, order};
use regex::Regex;
use std::sync::LazyLock;

static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let names = r"(p50|p75|p9\d?\d*(?:\.\d+)?|median|mean|average|avg|minimum|maximum|min|max)";
    Regex::new(&format!(r"(?i)\b{names}(?:\s+latency)?\s*(?:=|:|\bof\b|\bis\b|\bwas\b|\bat\b|\()?\s*$"))
        .expect("a pattern of this file")
});

/// Tells of all that the sentence says.
pub fn check(sentence: &Sentence, cores: Option<u64>, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    flights(sentence, place, told);
    quantiles(sentence, place, told);
    parts(sentence, place, told);
    shares(sentence, place, told);
    processors(sentence, cores, place, told);
    counts(sentence, place, told);
}

fn at(sentence: &Sentence, index: usize, place: &dyn Fn(usize) -> usize) -> usize {
    place(sentence.at + sentence.figures[index].at.start)
}

/// Figures of a dimension: both ends of a step, or one figure alone.
fn groups(sentence: &Sentence, wanted: &dyn Fn(usize) -> bool) -> Vec<(usize, Vec<Value>)> {
    let mut found: Vec<(usize, Vec<Value>)> = Vec::new();
    for index in (0..sentence.figures.len()).filter(|index| sentence.figures[*index].sign.is_none()) {
        match sentence.step_of(index) {
            Some(step) if step.first == index && (wanted(step.last) || wanted(step.first)) => {
                found.push((index, vec![step.from.clone(), step.to.clone()]));
            }
            Some(_) => {}
            None if wanted(index) => found.push((index, vec![sentence.value(index)])),
            None => {}
        }
    }
    found
}

fn flights(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let dimension = |wanted: Dimension| move |index: usize| sentence.figures[index].dimension() == wanted;
    let clients = groups(sentence, &dimension(Dimension::Clients));
    let rates = groups(sentence, &dimension(Dimension::Rate));
    let times = groups(sentence, &|index| dimension(Dimension::Time)(index));
    let ([(_, clients)], [(rate_at, rates)]) = (clients.as_slice(), rates.as_slice()) else { return };
    let means: Vec<_> = times.iter().filter(|(index, _)| is_mean(sentence, *index, *rate_at)).collect();
    let ([(index, means)], [clients]) = (means.as_slice(), clients.as_slice()) else { return };
    let whole = clients.interval.low.fract() == 0.0 && clients.interval.low == clients.interval.high;
    if little::pauses(&sentence.lower()) || !whole || clients.vague || rates.len() != means.len() {
        return;
    }
    let at = at(sentence, *index, place);
    for (rate, mean) in rates.iter().zip(means) {
        little::tell(clients.interval.low as u64, &[rate], mean, at, told);
    }
}

/// The mean latency as clients see it, by the words before it, or because it stands right behind the throughput.
fn is_mean(sentence: &Sentence, index: usize, rate_at: usize) -> bool {
    let before = sentence.before(index).to_lowercase();
    let words: Vec<&str> = before.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let near = &words[words.len().saturating_sub(4)..];
    let last = sentence.step_of(index).map_or(index, |step| step.last);
    let after = sentence.between(last).to_lowercase();
    let next = after.split(|c: char| !c.is_alphanumeric()).find(|w| !w.is_empty()).unwrap_or("");
    let other = |word: &str| {
        let quantile = word.starts_with('p') && word[1..].starts_with(|c: char| c.is_ascii_digit());
        let others = [
            "median",
            "max",
            "min",
            "server",
            "database",
            "hands",
            "cpu",
            "oracle",
            "phase",
            "wait",
            "waits",
            "execution",
            "inside",
            "window",
            "windows",
            "warm",
            "every",
            "timeout",
            "spread",
            "stddev",
        ];
        quantile || others.contains(&word)
    };
    if near.iter().any(|word| other(word)) || other(next) {
        return false;
    }
    let glue = ["and", "at", "with", "in", "each", "or", "a", "s", "per", "sec", "second"];
    let behind_rate = sentence.step_of(rate_at).map_or(rate_at, |step| step.last) + 1 == index;
    near.iter().any(|word| ["mean", "avg", "average", "latency"].contains(word))
        || behind_rate && words.iter().all(|word| glue.contains(word))
}

fn quantiles(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let mut named: Vec<(usize, Quantity, Vec<Value>)> = Vec::new();
    for (index, values) in groups(sentence, &|index| sentence.figures[index].dimension() == Dimension::Time) {
        let begin = sentence.figures[index].at.start;
        let Some(found) = NAMED.captures(&sentence.text[..begin]) else { continue };
        let quantity = super::head::Head::read(&found[1]).quantity;
        if named.iter().any(|(_, other, _)| *other == quantity) {
            return;
        }
        named.push((index, quantity, values));
    }
    for (number, (_, one, less)) in named.iter().enumerate() {
        for (index, other, more) in &named[number + 1..] {
            let pairs = less.iter().zip(more).filter(|(a, b)| less.len() == more.len() && !a.vague && !b.vague);
            pairs.for_each(|(a, b)| order::tell((*one, a), (*other, b), at(sentence, *index, place), told));
        }
    }
}

/// "812 us of 788 us", "10 of 1,598 us (0.6 %)", "Of the 788 us, 812 us are in the database".
fn parts(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    for index in 1..sentence.figures.len() {
        let words = sentence.between(index - 1).trim().to_lowercase();
        if ["of", "of the", "out of", "of its", "of a", "of all"].contains(&words.as_str()) {
            let whole = part(sentence, index - 1, index, place, told);
            whole.iter().for_each(|of| share(sentence, index + 1, (&of.0, &of.1), place, told));
        }
    }
    let opens = |text: &str| ["of", "of the", "of its", "of a", "so of the", "out of the"].contains(&text);
    let first = sentence.figures.first().map_or("", |figure| sentence.text[..figure.at.start].trim());
    if sentence.figures.len() > 1 && opens(&first.to_lowercase()) && sentence.between(0).trim_end().ends_with(',') {
        part(sentence, 1, 0, place, told);
    }
}

/// Part and whole, where the one can be in the other.
fn part(
    sentence: &Sentence,
    part: usize,
    whole: usize,
    place: &dyn Fn(usize) -> usize,
    told: &mut Told,
) -> Option<(Value, Value)> {
    let (one, other) = (&sentence.figures[part], &sentence.figures[whole]);
    let unit = other.unit.unwrap_or(Unit::PLAIN);
    let alike = one.unit.is_none_or(|own| own.dimension == unit.dimension);
    let next = sentence.between(whole).trim_start().to_lowercase();
    let windows = ["window", "run", "interval", "warm", "each", "sleep"].iter().any(|word| next.starts_with(word));
    if !alike || windows || one.sign.is_some() || one.vague || other.vague || unit.dimension == Dimension::Percent {
        return None;
    }
    let place_of_part = at(sentence, part, place);
    let part = Value::of(one, one.unit.unwrap_or(unit), sentence.text);
    let whole = Value::of(other, unit, sentence.text);
    if !part.interval.above(whole.interval) {
        told.sound(place_of_part, Asked::Part);
        return Some((part, whole));
    }
    let found = Contradiction {
        rule: Rule::Part,
        stands: format!("{} of {}", part.text, whole.text),
        right: format!("at most {}", whole.said()),
        why: "a part is never larger than its whole".into(),
    };
    told.wrong(place_of_part, Asked::Part, found);
    None
}

/// The percentage in parentheses right behind a part of a whole.
fn share(sentence: &Sentence, index: usize, of: (&Value, &Value), place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let Some(figure) = sentence.figures.get(index) else { return };
    let (before, after) = (sentence.between(index - 1), sentence.between(index));
    let words = before.trim().trim_end_matches('(').trim();
    let quiet = before.trim_end().ends_with('(') && !words.contains(' ') && after.trim_start().starts_with([')', ',']);
    if !quiet || figure.dimension() != Dimension::Percent || figure.sign.is_some() || figure.vague {
        return;
    }
    let Some(ratio) = of.0.interval.over(of.1.interval).map(|ratio| ratio.scaled(100.0)) else { return };
    let said = sentence.value(index);
    let at = at(sentence, index, place);
    if said.interval.meets(ratio) {
        told.sound(at, Asked::Words);
        return;
    }
    let found = Contradiction {
        rule: Rule::Change,
        stands: said.text,
        right: format!("{} %", grouped(ratio.middle())),
        why: format!("{} of {} is another share", of.0.text, of.1.text),
    };
    told.wrong(at, Asked::Words, found);
}

/// "Of the latency 62 % is in one, 31 % in another and 24 % in a third."
fn shares(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let lower = sentence.lower();
    let percents: Vec<usize> =
        (0..sentence.figures.len()).filter(|i| sentence.figures[*i].dimension() == Dimension::Percent).collect();
    let Some(first) = percents.first() else { return };
    let whole = ["latency", "time", "mean", "query", "cpu", "total", "whole", "samples", "it"];
    let opens = |text: &str| {
        whole.iter().any(|word| text.contains(&format!("of the {word}")) || text.contains(&format!("of {word}")))
    };
    let before = sentence.text[..sentence.figures[*first].at.start].to_lowercase();
    let last = percents.last().map_or("", |last| sentence.between(*last)).to_lowercase();
    let of = opens(&before) || opens(&sentence.between(*first).to_lowercase()) || opens(&last);
    let apart = [
        "of which",
        "of these",
        "of that",
        "of those",
        "thereof",
        "session",
        "before",
        "after",
        "vs",
        "from ",
        "inside",
        "inclusive",
        "within",
        "overlap",
        "per core",
        "each",
        "client",
        "both",
    ];
    let plain = |index: &usize| {
        let figure = &sentence.figures[*index];
        figure.sign.is_none() && !figure.vague && sentence.step_of(*index).is_none()
    };
    if percents.len() < 2 || !of || apart.iter().any(|word| lower.contains(word)) || !percents.iter().all(plain) {
        return;
    }
    let sum = percents.iter().fold(Interval::exact(0.0), |sum, index| sum.plus(sentence.value(*index).interval));
    let at = at(sentence, *first, place);
    if !sum.above(Interval::exact(100.0)) {
        told.sound(at, Asked::Share);
        return;
    }
    let list = percents.iter().map(|index| sentence.value(*index).text).collect::<Vec<_>>().join(" + ");
    let why = format!("they sum to {} %", grouped(sum.middle()));
    told.wrong(
        at,
        Asked::Share,
        Contradiction { rule: Rule::Shares, stands: list, right: "100 % at most".into(), why },
    );
}

/// "230 % CPU", "45 s of CPU in 20 s".
fn processors(sentence: &Sentence, cores: Option<u64>, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let own = capacity::cores(sentence.text);
    let Some(cores) = own.or(cores) else { return };
    for index in 0..sentence.figures.len() {
        let used = sentence.value(index);
        let after = sentence.between(index).trim_start().to_lowercase();
        let cpu = after.starts_with("cpu") && !after.starts_with("cpus")
            || after.starts_with("of cpu") && !after.starts_with("of cpus");
        let before = sentence.before(index).to_lowercase();
        let named = before.trim_end().ends_with("cpu") || before.trim_end().ends_with("cpu at");
        if used.sign.is_some() || used.vague || !(cpu || named && used.dimension() == Dimension::Percent) {
            continue;
        }
        let seconds = (index + 1 < sentence.figures.len()).then(|| sentence.value(index + 1));
        let in_time = |value: &Value| {
            let words = sentence.between(index).to_lowercase();
            value.dimension() == Dimension::Time && words.trim_end().ends_with(" in")
        };
        let at = at(sentence, index, place);
        capacity::cpu(&used, cores as f64, None, seconds.filter(in_time).as_ref(), at, told);
    }
}

/// "245,000 queries in 20 s (12,250 q/s)".
fn counts(sentence: &Sentence, place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let of = |dimension: Dimension| -> Vec<usize> {
        (0..sentence.figures.len()).filter(|index| sentence.figures[*index].dimension() == dimension).collect()
    };
    let seconds = |index: &usize| {
        let whole = sentence.figures[*index].unit.is_some_and(|unit| unit.scale >= 1.0 && !unit.per_query);
        let before = sentence.before(*index).to_lowercase();
        let word = before.split(|c: char| !c.is_alphanumeric()).rfind(|word| !word.is_empty()).unwrap_or("");
        whole && ["in", "over", "within", "during", "for", "of"].contains(&word)
    };
    let times: Vec<usize> = of(Dimension::Time).into_iter().filter(seconds).collect();
    let (counts, rates) = (of(Dimension::Count), of(Dimension::Rate));
    let ([count], [rate], [time]) = (counts.as_slice(), rates.as_slice(), times.as_slice()) else { return };
    let plain = |index: usize| sentence.step_of(index).is_none() && sentence.figures[index].sign.is_none();
    if plain(*rate) && plain(*count) && !little::pauses(&sentence.lower()) {
        let (count_at, rate) = (at(sentence, *count, place), sentence.value(*rate));
        capacity::count(&sentence.value(*count), &rate, &sentence.value(*time), count_at, told);
    }
}
