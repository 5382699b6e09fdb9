//! The performance log: parse, splice, check; never loses a byte of what a person wrote.
//!
//! The log is a Markdown file of entries under headings `## Session 48: ...` or `### Session 48: ...`. What wireprof
//! writes into an entry stands between `<!-- wireprof:begin RUN KIND {...} -->` and `<!-- wireprof:end RUN KIND -->`,
//! so that it can be written again and checked; everything else is a person's and is kept byte for byte. Numbers used
//! twice are tolerated, and told.

mod attach;
mod block;
mod bytes;
mod changes;
mod check;
mod document;
mod entry;
mod figures;
mod file;
mod kept;
mod markdown;
mod open;
mod results;
mod steps;

pub use attach::{Attachment, FOLDER, attach};
pub use block::{Block, FORM, Generated, HalfMarker, Made, MadeFocus};
pub use bytes::{decode, encode};
pub use changes::changes;
pub use check::{Checked, Finding, Kind, Rule, Source, check};
pub use document::{Document, Entry, Unspliceable};
pub use entry::{NewEntry, date, description, entry};
pub use figures::{answer, figures, one_line_summary};
pub use file::{read, read_prompt, write, write_prompt};
pub use kept::{keep, path_of as place_of_copies};
pub use open::{Open, open};
pub use results::{diagnosis, made, results};
pub use steps::{NoStep, Prompt, Step};
