//! The answer as text: the first screen. Invariant: at most [`LINES`] lines, none wider than asked for; what is cut
//! says so.

use super::because::{grew, why};
use super::paragraph::{LABELS, commands, labelled, paragraph, paragraph_ending, wrapped_to};
use super::places::short;
use crate::analyze::judge::answer::{Answer, AnswerLevel, Doubt};
use crate::check::Status;
use crate::profile::middle;
use crate::wire::Place;
use crate::words::{average, counted, list, thousands, time};

/// Lines of an answer at most.
pub const LINES: usize = 25;
/// Levels that are few enough to show all.
const FEW: usize = 4;
/// Conditions that do not hold, at most; the others are counted.
const DOUBTS: usize = 3;
/// Lines of an answer that a screen has room for at least.
const LEAST: usize = 20;
/// A bar's least and greatest width.
const BAR: (usize, usize) = (12, 60);

/// How an answer is shown.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    /// Width of a line at most (at least 60).
    pub width: usize,
    /// Lines at most, where the screen has fewer than [`LINES`]; `None`: it has them.
    pub lines: Option<usize>,
    /// All levels, however many.
    pub all_levels: bool,
    /// Commands that lead on, each with what it shows; two are shown.
    pub next: Vec<(String, String)>,
    /// Where the run is; `None`: the reader knows.
    pub place: Option<String>,
}

/// The lines of an answer.
pub fn answer_lines(answer: &Answer, framing: &Framing) -> Vec<String> {
    let width = framing.width.max(60);
    let shown = shown(&answer.levels, framing.all_levels);
    let mut lines = vec![middle(&format!("Run {} ({})", answer.run, ended(answer)), width), String::new()];
    lines.extend(table(&shown, width));
    lines.extend(wrapped_to(&legend(answer, &shown), width, 2 + FEW.saturating_sub(shown.len())));
    let room = framing.lines.unwrap_or(LINES).clamp(LEAST, LINES).saturating_sub(lines.len());
    let told = [ROOMY, TIGHT, SCANT].map(|bounds| paragraphs(answer, framing, width, bounds));
    let [.., scant] = &told;
    let rest = told.iter().find(|rest| rest.len() <= room).unwrap_or(scant);
    if rest.len() > room {
        lines.retain(|line| !line.is_empty());
    }
    lines.extend(rest.iter().cloned());
    lines
}

/// Lines that the paragraphs may have at most: why, what grew, what not to believe, what is missing.
type Bounds = [usize; 4];
/// Where there is room, where there is less, and what always fits.
const ROOMY: Bounds = [5, 4, 6, 3];
const TIGHT: Bounds = [4, 3, 4, 2];
const SCANT: Bounds = [4, 2, 2, 1];

/// What follows the table.
fn paragraphs(answer: &Answer, framing: &Framing, width: usize, bounds: Bounds) -> Vec<String> {
    let (why, effect) = why(answer);
    let mut rest = paragraph_ending("Why", &why, &effect, width, bounds[0]);
    rest.extend(answer.grown.iter().flat_map(|grown| paragraph("Grew", &grew(grown), width, bounds[1])));
    rest.extend(beware(answer, width, bounds[2]));
    rest.extend(missing(answer).iter().flat_map(|text| paragraph("Missing", text, width, bounds[3])));
    if !answer.changes.is_empty() {
        let changes = counted(answer.changes.len() as u64, "change");
        rest.push(format!("{:<LABELS$}{changes} on the server (--section setup)", "Set up"));
    }
    rest.extend(commands(&framing.next, width));
    rest.extend(framing.place.iter().flat_map(|place| labelled("Run", &in_lines(place, width))));
    rest
}

/// A path, with what stands behind it in brackets in a line of its own where one is too short. A path is never cut.
fn in_lines(place: &str, width: usize) -> Vec<String> {
    let fits = LABELS + place.chars().count() <= width;
    match place.split_once(" (").filter(|_| !fits) {
        Some((path, more)) => vec![path.into(), format!("({more}")],
        None => vec![place.into()],
    }
}

/// The levels that are shown: all when they are few, else the first and the last.
fn shown(levels: &[AnswerLevel], all: bool) -> Vec<&AnswerLevel> {
    match levels {
        [first, .., last] if levels.len() > FEW && !all => vec![first, last],
        _ => levels.iter().collect(),
    }
}

/// A row a level: how fast, and where the clients are.
fn table(levels: &[&AnswerLevel], width: usize) -> Vec<String> {
    let by_sockets = levels.iter().any(|level| level.by_sockets);
    let mean = if by_sockets { "mean*" } else { "mean" };
    let mut rows = vec![["clients", "queries/s", mean, "p50", "p99", "p99.9"].map(String::from)];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    rows.extend(levels.iter().map(|level| {
        [
            level.level.to_string(),
            or_none(level.throughput.map(|rate| thousands(&format!("{rate:.0}")))),
            or_none(level.mean.map(time)),
            or_none(level.p50.map(|nanos| time(nanos as f64))),
            or_none(level.p99.map(|nanos| time(nanos as f64))),
            or_none(level.p999.map(|nanos| time(nanos as f64))),
        ]
    }));
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let left = widths.iter().sum::<usize>() + 2 * widths.len();
    let bar = width.saturating_sub(left).clamp(BAR.0, BAR.1);
    let bars = levels.iter().map(|level| level.places.as_ref().map_or("not measured".into(), |p| of_places(p, bar)));
    let last = std::iter::once("where the clients are".to_string()).chain(bars);
    let line = |(row, last): (&[String; 6], String)| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}  "));
        let line = format!("{}{last}", cells.collect::<String>());
        line.chars().take(width).collect::<String>().trim_end().to_string()
    };
    rows.iter().zip(last).map(line).collect()
}

/// What stands for a place in a bar.
fn letter(place: Place) -> char {
    match place {
        Place::Client => '.',
        Place::Request => '>',
        Place::ServerBuffer => 'q',
        Place::Server => 'S',
        Place::Response => '<',
        Place::Network => '=',
        Place::ClientBuffer => 'c',
    }
}

/// A bar of so many characters, each place by its share of the clients (largest remainders).
fn of_places(places: &[(Place, f64)], width: usize) -> String {
    let all: f64 = places.iter().map(|(_, there)| there).sum();
    if all <= 0.0 {
        return "nobody was seen".into();
    }
    let exact: Vec<f64> = places.iter().map(|(_, there)| there / all * width as f64).collect();
    let mut cells: Vec<usize> = exact.iter().map(|cells| cells.floor() as usize).collect();
    let mut by_remainder: Vec<usize> = (0..exact.len()).collect();
    by_remainder.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let left = width.saturating_sub(cells.iter().sum());
    by_remainder.iter().take(left).for_each(|at| cells[*at] += 1);
    places.iter().zip(cells).map(|((place, _), cells)| letter(*place).to_string().repeat(cells)).collect()
}

/// A place for those who do not know the word.
pub(super) fn where_words(place: Place) -> &'static str {
    match place {
        Place::ServerBuffer => "unread in the server's socket buffers",
        Place::ClientBuffer => "unread in the client's socket buffers",
        other => short(other),
    }
}

/// What the bars' letters mean, with the clients there at the last level, and what the table leaves out.
fn legend(answer: &Answer, shown: &[&AnswerLevel]) -> String {
    let mut parts = Vec::new();
    if let Some((level, places)) = shown.iter().rev().find_map(|level| Some((level.level, level.places.as_ref()?))) {
        let seen = |place: Place| {
            let of = |level: &&AnswerLevel| {
                let there = level.places.iter().flatten().find(|(other, _)| *other == place);
                there.is_some_and(|(_, there)| *there >= 0.01 * level.level as f64)
            };
            shown.iter().any(of)
        };
        let told = places.iter().filter(|(place, _)| seen(*place));
        let told: Vec<String> = told
            .map(|(place, there)| format!("{} {} {}", letter(*place), average(*there), where_words(*place)))
            .collect();
        parts.push(format!("Of {}, on average: {}.", counted(level as u64, "client"), told.join(", ")));
    }
    if shown.iter().any(|level| level.by_sockets) {
        parts.push("* by the sockets: the load does not tell its own.".into());
    }
    let out: Vec<String> =
        answer.levels.iter().filter(|level| !shown.contains(level)).map(|l| l.level.to_string()).collect();
    if !out.is_empty() {
        parts.push(format!("Not shown: levels {} (--full).", list(&out)));
    }
    parts.join(" ")
}

/// How the run ended, and how many of its windows no figure is of.
pub(super) fn ended(answer: &Answer) -> String {
    match answer.left_out.len() {
        0 => answer.ended.clone(),
        windows => format!("{}, {} unreadable", answer.ended, counted(windows as u64, "window")),
    }
}

/// Which windows cannot be read.
pub(super) fn left_out(answer: &Answer) -> Option<String> {
    (!answer.left_out.is_empty()).then(|| format!("Left out: {}.", answer.left_out.join("; ")))
}

/// What not to believe.
fn beware(answer: &Answer, width: usize, lines: usize) -> Vec<String> {
    let Some(text) = left_out(answer) else { return doubts(answer, "Beware", width, lines) };
    if answer.doubts.is_empty() {
        return paragraph("Beware", &text, width, lines);
    }
    let mut found = paragraph("Beware", &text, width, (lines / 2).max(1));
    let room = lines.saturating_sub(found.len()).max(1);
    found.extend(doubts(answer, "", width, room));
    found
}

/// What does not hold.
fn doubts(answer: &Answer, first: &str, width: usize, lines: usize) -> Vec<String> {
    if answer.doubts.is_empty() {
        return paragraph(first, "Nothing: no check failed or warned.", width, 1);
    }
    let (told, others) = answer.doubts.split_at(DOUBTS.min(answer.doubts.len()));
    let each = (lines / told.len()).max(1);
    let mut found = Vec::new();
    for (at, doubt) in told.iter().enumerate() {
        let last = at + 1 == told.len();
        let more = if last && !others.is_empty() { format!("; and {} more", others.len()) } else { String::new() };
        let label = if at == 0 { first } else { "" };
        let room = if last { lines.saturating_sub(found.len()).max(1) } else { each };
        let (text, windows) = condition(doubt, answer.windows);
        found.extend(paragraph_ending(label, &text, &format!("{windows}{more}"), width, room));
    }
    found
}

/// What does not hold, and where.
pub(super) fn condition(doubt: &Doubt, windows: usize) -> (String, String) {
    let failed = if doubt.status == Status::Fail { "FAILED: " } else { "" };
    let levels: Vec<String> = doubt.levels.iter().map(ToString::to_string).collect();
    let at = match (windows, levels.as_slice()) {
        (1, _) => String::new(),
        _ if doubt.windows == windows => " (all windows)".to_string(),
        (_, [level]) => format!(" (level {level})"),
        (_, levels) => format!(" (levels {})", list(levels)),
    };
    (format!("{failed}{}", doubt.check), at)
}

/// What was not measured, with the reasons.
pub(super) fn missing(answer: &Answer) -> Option<String> {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for lacking in &answer.missing {
        let what = match lacking.windows {
            all if all == answer.windows => lacking.what.to_string(),
            some => format!("{} (in {some} of {} windows)", lacking.what, answer.windows),
        };
        match reasons.iter_mut().find(|(_, why)| *why == lacking.why) {
            Some((known, _)) => *known += &format!(", {what}"),
            None => reasons.push((what, lacking.why.clone())),
        }
    }
    let told: Vec<String> = reasons.iter().map(|(what, why)| format!("{what}: {why}")).collect();
    if !told.is_empty() {
        return Some(format!("{}.", told.join("; ")));
    }
    let lacks = answer.levels.iter().find(|level| level.p99.is_none() || level.mean.is_none())?;
    Some(format!("latencies: {}", lacks.why.as_deref().unwrap_or("not known at every level")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_its_width_and_each_place_its_share() {
        let places = [(Place::Server, 51.9), (Place::ServerBuffer, 10.7), (Place::ClientBuffer, 1.4)];
        let bar = of_places(&places, 24);
        assert_eq!(bar, "SSSSSSSSSSSSSSSSSSSqqqqc");
        assert_eq!(of_places(&[(Place::Client, 0.0)], 24), "nobody was seen");
    }
}
