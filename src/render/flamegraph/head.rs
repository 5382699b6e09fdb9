//! What stands around the frames of a picture: its title, the lines under it, the legend, the buttons. Invariant: the
//! picture is as wide as what shows it and its text keeps its size; without scripts it is laid out for [`WIDTH`] pixels
//! and shrinks as a whole; no text stands on another.

use super::tooltip::escaped;

/// Pixels that the picture is laid out for where no script runs; inferno's width of a picture that has none.
const WIDTH: f64 = 1_200.0;
/// Pixels that inferno leaves free at each side.
const PADDING: f64 = 10.0;
/// Pixels of a frame row as wide as the picture, where no script runs.
pub(super) const ROW: f64 = WIDTH - 2.0 * PADDING;
/// Pixels of a character of 12 pixels, and of the title's; those of the widest fonts in use, so that all fits.
pub(super) const CHARACTER: f64 = 7.25;
const TITLE_CHARACTER: f64 = 10.3;
/// Pixels that inferno leaves free above the frames, and under them to the line with what the pointer is on.
const HEAD_ROOM: f64 = 36.0;
const BELOW: f64 = 17.0;
/// `lay_out_head`.
const SCRIPT: &str = include_str!("head.js");
const STYLE: &str = "
text { fill:#111 }
#title { text-anchor:start; font-weight:bold }
#search, #unzoom { opacity:1; fill:#1a4fa3; text-decoration:underline; cursor:pointer }
";

/// What becomes of inferno's script, and how often each stands in it.
const HOOKS: [(&str, &str, usize); 6] = [
    // A frame's text is its tooltip's first line; ours has the full name below it.
    (r#".textContent.replace(/\([^(]*\)$/,"")"#, r#".textContent.split("\n")[0].replace(/ ?\([^(]*\)$/,"")"#, 2),
    // Both pictures of a pair have one scale.
    ("= svg.width.baseVal.value - xpad * 2;", "= (svg.width.baseVal.value - xpad * 2) * share;", 1),
    ("matchedtxt.attributes.x.value = svgWidth - xpad;", "lay_out_head(svgWidth);", 1),
    // Two dots alone say nothing; a short name that fits does.
    ("if (w < 2 * known_font_width) {", "if (w < 5 * known_font_width && txt.length * known_font_width >= w) {", 1),
    (r#""Matched: " + pct + "%""#, r#""Found: " + pct + " % of the width""#, 1),
    (r#"nametype + " " + g_to_text(target)"#, r#"g_to_text(target).split("\n")[0]"#, 1),
];

/// An entry of the legend.
pub(super) struct Key {
    /// As SVG writes it.
    pub colour: String,
    pub word: String,
}

/// What stands above the frames.
pub(super) struct Head {
    pub title: String,
    /// The lines under the title.
    pub lines: Vec<String>,
    pub legend: Vec<Key>,
    /// Share of the width that the frames have, 0..1.
    pub share: f64,
    /// More rules of style.
    pub style: String,
}

/// inferno's picture up to its frames, with this head.
pub(super) fn with_head(above: &str, head: &Head) -> String {
    let tall: f64 = between(above, " height=\"", "\"").and_then(|tall| tall.parse().ok()).unwrap_or_default();
    let (drawn, bottom) = laid_out(head);
    let down = bottom - HEAD_ROOM;
    let before = above.find("<text id=\"title\"").map_or(above, |at| &above[..at]);
    let sized = before
        .replacen(
            &format!(" width=\"{WIDTH}\" height=\"{tall}\""),
            &format!(" width=\"100%\" height=\"{}\"", tall + down),
            1,
        )
        .replacen(&format!("viewBox=\"0 0 {WIDTH} {tall}\""), &format!("viewBox=\"0 0 {WIDTH} {}\"", tall + down), 1)
        .replacen(&format!(" width=\"100%\" height=\"{tall}\""), " width=\"100%\" height=\"100%\"", 1)
        .replacen("</style>", &format!("{STYLE}{}</style>", head.style), 1);
    let hooked = HOOKS.iter().fold(sized, |text, (theirs, ours, _)| text.replace(theirs, ours));
    let numbers =
        format!("\nvar share = {}, head_room = {HEAD_ROOM}, below = {}, tall = {tall};\n", head.share, tall - BELOW);
    let scripted = hooked.replacen("</script>", &format!("<![CDATA[{numbers}{SCRIPT}]]></script>"), 1);
    let button = bottom - 8.0;
    format!(
        "{scripted}{drawn}\
         <text id=\"unzoom\" class=\"hide\" x=\"{PADDING}\" y=\"{button}\">Reset Zoom</text>\
         <text id=\"search\" x=\"{}\" y=\"{button}\">Search</text>\
         <text id=\"matched\" x=\"{}\" y=\"{button}\"> </text>\
         <text id=\"details\" x=\"{PADDING}\" y=\"{}\"> </text>",
        WIDTH - PADDING,
        WIDTH - PADDING - 13.0 * CHARACTER,
        tall - BELOW + down
    )
}

/// The opening of the frames with the head above them.
pub(super) fn frames_opening(opening: &str, head: &Head) -> String {
    let (_, bottom) = laid_out(head);
    let place = format!("y=\"{}\" width=\"{}\"", bottom - HEAD_ROOM, ROW * head.share);
    opening.replacen(&format!("width=\"{ROW}\""), &place, 1)
}

/// Title, lines and legend for [`WIDTH`] pixels, and where what stands below may begin. As `lay_out_head` does it.
fn laid_out(head: &Head) -> (String, f64) {
    let (mut text, mut y) = ("<g id=\"head\">".to_string(), 4.0);
    let title = [("title", &head.title, 21.0, TITLE_CHARACTER)].into_iter();
    for (id, line, step, character) in title.chain(head.lines.iter().map(|line| ("", line, 16.0, CHARACTER))) {
        text += &if id.is_empty() { "<text>".to_string() } else { format!("<text id=\"{id}\">") };
        for part in broken(line, (ROW / character) as usize) {
            y += step;
            text += &format!("<tspan x=\"{PADDING}\" y=\"{y}\">{}</tspan>", escaped(&part));
        }
        text += "</text>";
    }
    text += "</g><g id=\"legend\">";
    y += 20.0;
    let mut x = PADDING;
    for Key { colour, word } in &head.legend {
        let wide = 18.0 + CHARACTER * word.chars().count() as f64;
        if x > PADDING && x + wide > WIDTH - PADDING {
            (x, y) = (PADDING, y + 18.0);
        }
        text += &format!(
            "<g transform=\"translate({x},{y})\"><rect y=\"-11\" width=\"13\" height=\"13\" fill=\"{colour}\" \
             stroke=\"#555\" stroke-width=\"0.5\"/><text x=\"18\">{}</text></g>",
            escaped(word)
        );
        x += wide + 16.0;
    }
    (text + "</g>", y + 28.0)
}

/// The line in parts of so many characters at most, broken after blanks, which stay at the parts' ends.
fn broken(line: &str, most: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = parts.last_mut().expect("there is one from the start");
        if !last.is_empty() && last.chars().count() + word.trim_end().chars().count() > most {
            parts.push(word.into());
        } else {
            last.push_str(word);
        }
    }
    parts
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferno() -> String {
        let (mut options, mut svg) = (inferno::flamegraph::Options::default(), Vec::new());
        inferno::flamegraph::from_lines(&mut options, ["a;b 2", "a;c 1"], &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    fn head() -> Head {
        let key = |word: &str| Key { colour: "rgb(1,2,3)".into(), word: word.into() };
        let lines = vec!["word ".repeat(60).trim_end().to_string()];
        Head { title: "T < U".into(), lines, legend: vec![key("one"), key("two")], share: 0.5, style: String::new() }
    }

    #[test]
    fn infernos_script_still_has_all_that_ours_is_put_in_for() {
        let svg = inferno();
        for (theirs, _, times) in HOOKS {
            assert_eq!(svg.matches(theirs).count(), times, "{theirs}");
        }
    }

    #[test]
    fn the_picture_has_no_width_of_its_own_and_the_head_takes_the_room_it_needs() {
        let svg = inferno();
        let at = svg.find("<svg id=\"frames\"").unwrap();
        let (above, head) = (with_head(&svg[..at], &head()), head());
        // Of 36 pixels for the head 105: a title, two lines, the legend, the buttons.
        assert!(above.contains("version=\"1.1\" width=\"100%\" height=\"187\""), "{above}");
        assert!(above.contains("viewBox=\"0 0 1200 187\"") && above.contains("width=\"100%\" height=\"100%\""));
        assert!(above.contains("<text id=\"title\"><tspan x=\"10\" y=\"25\">T &lt; U</tspan></text>"));
        assert_eq!((above.matches("<tspan ").count(), above.matches("translate(").count()), (3, 2 + 1));
        let opening = frames_opening(&svg[at..at + 80], &head);
        assert!(opening.contains("x=\"10\" y=\"69\" width=\"590\""), "{opening}");
    }

    #[test]
    fn a_line_is_broken_at_blanks_and_loses_nothing() {
        let parts = broken("one two three four", 9);
        assert_eq!(parts, ["one two ", "three ", "four"]);
        assert_eq!(parts.concat(), "one two three four");
    }
}
