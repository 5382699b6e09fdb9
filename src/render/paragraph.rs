//! Labelled paragraphs of the first screen, and the commands that lead on. Invariant: a paragraph has at most the lines
//! that it may have, and says where it is cut; a command is never cut.

/// Where a paragraph's text begins, behind its label.
pub(super) const LABELS: usize = 9;

/// A labelled paragraph of so many lines at most.
pub(super) fn paragraph(label: &str, text: &str, width: usize, lines: usize) -> Vec<String> {
    paragraph_ending(label, text, "", width, lines)
}

/// A paragraph whose end is kept whatever is cut.
pub(super) fn paragraph_ending(label: &str, text: &str, end: &str, width: usize, lines: usize) -> Vec<String> {
    let wrapped = |text: &str| wrapped_to(text, width - LABELS, usize::MAX);
    let mut found = wrapped(&format!("{text}{end}"));
    if found.len() > lines {
        let cut = |text: &str| wrapped(&format!("{text} …{end}"));
        found = cut(beginning(text, |text| cut(text).len() <= lines));
        found.truncate(lines);
    }
    labelled(label, &found)
}

/// The label before the first line, and the others below it.
pub(super) fn labelled(label: &str, lines: &[String]) -> Vec<String> {
    let line = |(at, line): (usize, &String)| format!("{:<LABELS$}{line}", if at == 0 { label } else { "" });
    lines.iter().enumerate().map(line).collect()
}

/// As much of the text as fits: to the end of a sentence, where that leaves little out, else to that of a word.
fn beginning(text: &str, fits: impl Fn(&str) -> bool) -> &str {
    let found = text.rmatch_indices(' ').map(|(at, _)| &text[..at]).find(|text| fits(text)).unwrap_or("");
    match found.rfind(". ") {
        Some(at) if 5 * at > 3 * found.len() => &found[..=at],
        _ => found,
    }
}

/// Lines of at most `width` characters, and so many at most.
pub(super) fn wrapped_to(text: &str, width: usize, lines: usize) -> Vec<String> {
    let text = super::terminal::wrapped(text, width);
    let mut found: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(String::from).collect();
    if found.len() > lines {
        found.truncate(lines);
        if let Some(last) = found.last_mut() {
            *last = format!("{} …", last.chars().take(width.saturating_sub(2)).collect::<String>().trim_end());
        }
    }
    found
}

/// Commands that lead on, two at most.
pub(super) fn commands(commands: &[(String, String)], width: usize) -> Vec<String> {
    let widest = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let lines = commands.iter().take(2).enumerate();
    lines
        .flat_map(|(at, (command, what))| {
            let label = if at == 0 { "Next" } else { "" };
            let text = format!("{label:<LABELS$}{command:<widest$}  {what}");
            // A command is never cut: without room, what it shows is left out.
            let fits = text.chars().count() <= width;
            let alone = format!("{label:<LABELS$}{command}");
            [if fits { text } else { alone }]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_that_is_cut_says_so_and_keeps_its_end() {
        let cut = paragraph_ending("Why", &"word ".repeat(40), " (and 2 more)", 40, 2);
        assert_eq!(cut.len(), 2);
        assert!(cut[0].starts_with("Why      word") && cut[1].ends_with("… (and 2 more)"), "{cut:?}");
        assert!(cut.iter().all(|line| line.chars().count() <= 40), "{cut:?}");
        assert_eq!(paragraph("Why", "short", 40, 2), ["Why      short"]);
    }

    #[test]
    fn a_text_is_cut_at_the_end_of_a_sentence_that_leaves_little_out() {
        let text = "The first sentence is told as a whole. The second one is too long for what is left of it.";
        assert_eq!(
            paragraph("Grew", text, 40, 2).join(" "),
            "Grew     The first sentence is told as a          whole. …"
        );
        let text = "Short. The second sentence is by far the longer one of the two, so that it is begun.";
        assert!(
            paragraph("Grew", text, 40, 2)[1].ends_with("longer one of the …"),
            "{:?}",
            paragraph("Grew", text, 40, 2)
        );
    }

    #[test]
    fn an_end_that_takes_a_line_leaves_the_lines_before_it_alone() {
        let end = " Without it: 1.83 ms (91 %) less latency, 11.8 times the throughput.";
        let cut = paragraph_ending("Why", &"word ".repeat(60), end, 80, 4);
        assert!(cut.len() == 4 && cut[1].chars().count() > 70, "{cut:#?}");
        assert!(cut.join(" ").split_whitespace().collect::<Vec<_>>().join(" ").ends_with(end.trim()), "{cut:#?}");
    }
}
