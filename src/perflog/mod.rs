//! The performance log: parse, splice, check; never loses a byte of what a person wrote.
//!
//! The log is a Markdown file of entries under headings `## Session 48: ...` or `### Session 48: ...`. What wireprof writes into
//! an entry stands between `<!-- wireprof:begin RUN KIND -->` and `<!-- wireprof:end RUN KIND -->`, so that it can be written
//! again; everything else is a person's and is kept byte for byte. Numbers used twice are tolerated.

mod attach;
mod document;
mod entry;
mod file;

pub use attach::{Attachment, FOLDER, attach};
pub use document::{Document, Entry, Unspliceable};
pub use entry::{NewEntry, entry};
pub use file::{read, write};
