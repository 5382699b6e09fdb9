//! What a test says that cannot run here. Invariant: each reason is one line that begins with `skipped: `, by which
//! scripts/test counts the test as skipped instead of passed, and fails on a reason that tests/allowed-skips.txt lacks.

use std::fmt::Display;

/// The test ends here, as the machine lacks something that it needs.
pub fn skip(reason: impl Display) {
    println!("skipped: {}", one_line(reason));
}

/// A part of the test is left out; the rest runs, and the test counts as passed.
#[allow(dead_code, reason = "each test binary uses a part of it")]
pub fn skip_in_part(reason: impl Display) {
    println!("skipped in part: {}", one_line(reason));
}

fn one_line(reason: impl Display) -> String {
    reason.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
