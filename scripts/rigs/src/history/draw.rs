//! `docs/benchmarks.svg`: one panel a figure, its value with the interval over the recordings, and the peer's line at
//! 1. Invariant: the same history gives the same bytes.

use super::{Line, digits, names};
use std::fmt::Write;

const COLUMNS: usize = 3;
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 178.0;
/// Of a panel's drawing: left, top, right and bottom of the panel's own corner.
const PLOT: (f64, f64, f64, f64) = (48.0, 42.0, 318.0, 144.0);
/// Recordings that a panel shows, the newest ones.
const SHOWN: usize = 40;

const STYLE: &str = "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.s{fill:#777;font-size:10px}\
    .b{fill:none;stroke:#ddd}.p{stroke:#c33;stroke-dasharray:4 3}.i{stroke:#357}.v{fill:#357}\
    .o{fill:#fff;stroke:#357}.l{fill:none;stroke:#357;stroke-opacity:.5}";

/// The whole picture.
pub fn draw(lines: &[Line]) -> String {
    let names = names(lines);
    let rows = names.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (at, name) in names.iter().enumerate() {
        let (x, y) = ((at % COLUMNS) as f64 * WIDTH, (at / COLUMNS) as f64 * HEIGHT);
        let of: Vec<&Line> = lines.iter().filter(|line| line.figure == *name).collect();
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, &of[of.len().saturating_sub(SHOWN)..]);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// From what to what a panel's axis goes: it spans all values and their intervals.
fn range(lines: &[&Line]) -> (f64, f64) {
    let peer = lines.iter().filter(|line| line.peer.is_some()).map(|_| 1.0);
    let values: Vec<f64> = lines.iter().map(|line| line.value()).chain(peer).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ends = || lines.iter().filter_map(|line| line.interval);
    let bottom = ends().map(|[end, _]| end).fold(low, f64::min).max(0.0);
    let top = ends().map(|[_, end]| end).fold(high, f64::max);
    let space = 0.08 * (top - bottom).max(0.05 * high);
    ((bottom - space).max(0.0), top + space)
}

fn panel(svg: &mut String, lines: &[&Line]) {
    let (left, top, right, bottom) = PLOT;
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
    let (low, high) = range(lines);
    let y = |value: f64| bottom - (value.clamp(low, high) - low) / (high - low) * (bottom - top);
    let step = (right - left) / lines.len() as f64;
    let x = |at: usize| left + (at as f64 + 0.5) * step;
    let unit = last.peer.as_ref().map_or_else(|| last.unit.clone(), |peer| format!("of {}", peer.name));
    let now = format!("{} {unit}", digits(last.value()));
    let _ = writeln!(svg, "<text class=\"t\" x=\"8\" y=\"16\">{}</text>", escaped(&last.figure));
    let _ = writeln!(svg, "<text x=\"8\" y=\"31\">{}</text>", escaped(&now));
    let (w, h) = (right - left, bottom - top);
    let _ = writeln!(svg, "<rect class=\"b\" x=\"{left}\" y=\"{top}\" width=\"{w}\" height=\"{h}\"/>");
    for (value, at) in [(low, bottom), (high, top + 8.0)] {
        let text = digits(value);
        let _ = writeln!(svg, "<text class=\"s\" x=\"{}\" y=\"{at}\" text-anchor=\"end\">{text}</text>", left - 4.0);
    }
    if last.peer.is_some() {
        let _ = writeln!(svg, "<line class=\"p\" x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>", y(1.0));
    }
    let points = lines.iter().enumerate().map(|(at, line)| format!("{:.1},{:.1}", x(at), y(line.value())));
    let _ = writeln!(svg, "<polyline class=\"l\" points=\"{}\"/>", points.collect::<Vec<_>>().join(" "));
    for (at, line) in lines.iter().enumerate() {
        point(svg, line, x(at), &y, line.host == last.host);
    }
    let _ = writeln!(svg, "<text class=\"s\" x=\"{left}\" y=\"158\">{}</text>", escaped(&first.revision));
    if lines.len() > 1 {
        let text = escaped(&last.revision);
        let _ = writeln!(svg, "<text class=\"s\" x=\"{right}\" y=\"158\" text-anchor=\"end\">{text}</text>");
    }
}

/// A value with its interval; open where it is of another host than the newest.
fn point(svg: &mut String, line: &Line, x: f64, y: &dyn Fn(f64) -> f64, same_host: bool) {
    if let Some([low, high]) = line.interval {
        let _ =
            writeln!(svg, "<line class=\"i\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>", y(low), y(high));
    }
    let class = if same_host { "v" } else { "o" };
    let title = escaped(&format!("{} {}: {}, {} pairs", line.revision, line.date, digits(line.value()), line.pairs));
    let at = y(line.value());
    let _ =
        writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{at:.1}\" r=\"3\"><title>{title}</title></circle>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
