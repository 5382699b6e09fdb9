//! Figures that documents quote: the number right before `<!-- bench:FIGURE -->` is the newest one of that figure, with
//! as many decimals as are quoted; `<!-- bench:FIGURE.ours -->` and `.peer` are the two values. A figure that was never
//! recorded is quoted as `not measured`.

use super::{Line, newest};

/// What stands for a figure that was not recorded.
const ABSENT: &str = "not measured";
const BEGIN: &str = "<!-- bench:";
const END: &str = " -->";

/// The document with the newest figures, and the names that it quotes.
///
/// # Errors
/// A marker with no number before it.
pub fn renewed(text: &str, lines: &[Line]) -> Result<(String, Vec<String>), String> {
    let (mut done, mut rest, mut names) = (String::new(), text, Vec::new());
    while let Some((before, marked)) = rest.split_once(BEGIN) {
        let (name, after) =
            marked.split_once(END).ok_or_else(|| format!("a marker has no end: {BEGIN}{marked:.40}"))?;
        let kept = without_figure(before).ok_or_else(|| format!("no figure before {BEGIN}{name}{END}"))?;
        let decimals = before[kept.len()..].split_once('.').map_or(0, |(_, decimals)| decimals.len());
        // From nothing to a number: two decimals.
        let decimals = if before.ends_with(ABSENT) { 2 } else { decimals };
        let figure = value(lines, name).map_or_else(|| ABSENT.into(), |value| format!("{value:.decimals$}"));
        done.extend([kept, &figure, BEGIN, name, END]);
        names.push(name.to_string());
        rest = after;
    }
    done.push_str(rest);
    Ok((done, names))
}

fn value(lines: &[Line], name: &str) -> Option<f64> {
    match name.rsplit_once('.') {
        Some((figure, "ours")) => Some(newest(lines, figure)?.ours),
        Some((figure, "peer")) => Some(newest(lines, figure)?.peer.as_ref()?.value),
        _ => Some(newest(lines, name)?.value()),
    }
}

fn without_figure(before: &str) -> Option<&str> {
    if let Some(kept) = before.strip_suffix(ABSENT) {
        return Some(kept);
    }
    let kept = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    (kept.len() < before.len()).then_some(kept)
}
