//! The end of a sweep at a terminal of 80 x 24: the whole answer stays on the screen, no line is broken, and no pager
//! keeps the sweep from ending.

use crate::binaries::WIREPROF;
use crate::sweeps::{Place, has_testbed};
use crate::terminal::{Pane, assert_answer};

#[test]
fn a_sweep_ends_with_its_answer_on_the_screen() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let sweep = format!("{WIREPROF} sweep --testbed --levels 1,2 --window 1s --warmup 100ms --no-follow");
    let Some(pane) = Pane::of(&sweep, place.path()) else { return };
    pane.lines();
    assert_answer(&pane.screen());
}
