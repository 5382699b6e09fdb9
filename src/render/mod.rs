//! One view model rendered as terminal text, Markdown and JSON; flamegraph SVGs through inferno. Computes nothing.
//!
//! # The JSON
//! Every report is one object (`schema` is raised when a key changes its meaning or goes away):
//!
//! ```json
//! {"schema": 1, "title": "...", "sections": [{
//!   "id": "...", "title": "...",
//!   "tables": [{"title": "...",
//!     "columns": [
//!       {"key": "frame", "header": "frame", "unit": null},
//!       {"key": "L16", "header": "16", "unit": "us/query"}],
//!     "rows": [{"frame": "full::name", "L16": {"value": 12.5, "low": 11.9, "high": 13.1, "samples": 4321}}],
//!     "notes": ["..."]}],
//!   "notes": ["..."],
//!   "pictures": [{"title": "...", "path": "..."}]}]}
//! ```
//!
//! A row has each column's key; `columns` gives their order. A text is a string, in full; a number is a number, in
//! the column's unit, unrounded; a number that rests on samples is `{"value", "low", "high", "samples"}` (95 %
//! interval; null where it was not measured), a difference `{"value", "low", "high"}`, bounds of a quantile `{"low",
//! "high"}` (`high` null for the last bucket); what was not measured or does not exist is null, and why stands under
//! the row's `"missing"`: `{key: reason}`.

mod answer;
mod brief;
mod cause;
mod checks;
mod comparison;
mod correlation;
mod demands;
mod diagnosis;
mod difference;
mod figure;
pub mod flamegraph;
mod hands;
mod headline;
mod hot;
mod json;
mod ladder;
mod markdown;
mod model;
mod nodes;
mod observer;
mod off_cpu;
mod places;
mod populations;
mod processes;
mod quantities;
mod runs;
mod scraped;
mod screen;
mod series;
mod statements;
mod summary;
mod tails;
mod terminal;
mod told;
mod transactions;
mod tree;
mod uses;

pub use crate::profile::middle;
pub use answer::{Framing, LINES as ANSWER_LINES, answer_lines};
pub use brief::{brief, fitting, on_screen};
pub use checks::{checks_report, checks_table};
pub use comparison::{Conclusion, comparison_end, comparison_report};
pub use correlation::correlation_section;
pub use demands::{demands_section, growth_section};
pub use diagnosis::{diagnosis_line, diagnosis_report, verdict_words};
pub use difference::{difference_report, difference_tables};
pub use figure::significant;
pub use hands::hands_section;
pub use headline::headline_lines;
pub use hot::{frames as frames_table, hot_report};
pub use json::{json, json_brief, json_error, json_value, json_with_answer};
pub use ladder::{Ladder, ladder_report};
pub use markdown::{markdown, table as markdown_table};
pub use model::{Align, Cell, Column, Picture, Report, Section, Table};
pub use nodes::nodes_section;
pub use observer::observer_section;
pub use off_cpu::{Row as WaitsRow, waits_section};
pub use places::places_section;
pub use populations::{populations_sentences, populations_svg};
pub use processes::processes_table;
pub use quantities::{quantities_on_screen, quantities_table};
pub use runs::{StoredRun, manifest_lines, runs_report};
pub use scraped::scraped_table;
pub use screen::Screen;
pub use series::{series_on_screen, series_table};
pub use statements::statements_section;
pub use summary::{level_tables, summary_table};
pub use tails::tails_section;
pub use terminal::{on_terminal, terminal};
pub use transactions::transactions_table;
pub use tree::tree_section;
