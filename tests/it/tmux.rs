//! What a person at a terminal of 80 x 24 sees: the answer whole and no line broken.

use crate::binaries::WIREPROF;
use crate::recordings;
use crate::sweeps::Place;
use crate::terminal::{Pane, assert_answer};

const IMPORT: &str = "--preset testbed --profile-seconds 2 --id recorded";

#[test]
fn an_explanation_is_not_broken_by_80_columns_and_begins_with_the_answer() {
    let place = Place::new();
    let import = format!("{WIREPROF} import {} {IMPORT}", recordings::testbed().display());
    let Some(pane) = Pane::of(&import, place.path()) else { return };
    pane.lines();
    // All of it is on the screen when the command has ended.
    assert_answer(&pane.screen());
    let explain = Pane::of(&format!("{WIREPROF} explain --no-pager"), place.path()).unwrap();
    let lines = explain.lines();
    assert!(lines.len() > 40 && lines[0].starts_with("Run recorded"), "{lines:#?}");
    let end = lines.iter().position(|line| line.starts_with("Next  ")).unwrap();
    assert!(end < 25 && lines[..end].iter().any(|line| line.starts_with("Why  ")), "{lines:#?}");
    for verb in ["diagnose", "hot", "metrics", "statements", "runs", "runs latest --full", "explain --full"] {
        let pane = Pane::of(&format!("{WIREPROF} {verb} --no-pager"), place.path()).unwrap();
        assert!(pane.lines().len() > 3, "{verb}");
    }
}

#[test]
fn in_a_pager_the_answer_is_what_is_seen_first() {
    let place = Place::new();
    let recorded = recordings::testbed().display().to_string();
    place.run(&[&["import", recorded.as_str()], &IMPORT.split(' ').collect::<Vec<_>>()[..]].concat());
    let Some(pane) = Pane::of(&format!("PAGER=less {WIREPROF} explain"), place.path()) else { return };
    pane.await_text("Grew  ");
    let screen = pane.screen();
    assert!(
        screen[0].starts_with("Run recorded") && screen.iter().any(|line| line.starts_with("Grew  ")),
        "{screen:#?}"
    );
}
