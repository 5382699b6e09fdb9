//! What changed between two runs, as a part of an entry. Invariant: the same runs and the same [`Made`] give the same
//! bytes.

use super::block::{Generated, Made};
use super::entry::one_line;
use super::figures::one_line_summary;
use crate::analyze::compare::difference::{Options, difference};
use crate::render::{difference_tables, markdown_table};
use crate::run::Run;

/// Kind of the block in its key, behind both runs' ids.
pub const DIFFERENCE: &str = "difference";

/// What changed from one run to the other; at most as many frames as [`Made::top`] says.
pub fn changes(before: &Run, after: &Run, made: &Made) -> Generated {
    let defaults = Options::default();
    let found = difference(before, after, &Options { top: made.top.unwrap_or(defaults.top), ..defaults });
    let mut text = format!("From run `{}` to run `{}`:\n\n", found.before, found.after);
    text += &format!("**In one line.** {}\n\n", one_line_summary(after, Some(before)));
    found.notes.iter().for_each(|note| text += &format!("- {}\n", one_line(note)));
    text += &format!(
        "- Probability of any false difference among throughput, latency and CPU: at most {} %; of the frames that \
            are said to \
         differ, {} % are expected to be false ones; \"same\" is within {} %.\n",
        100.0 * found.familywise,
        100.0 * found.false_discovery,
        100.0 * found.margin
    );
    for table in difference_tables(&found) {
        text += &if table.title.is_empty() { "\n".to_string() } else { format!("\n{}:\n\n", table.title) };
        text += &markdown_table(&table);
    }
    let key = format!("{} {} {DIFFERENCE}", found.before, found.after);
    Generated { key, made: Made { focus: None, ..made.clone() }, text }
}
