//! `wireprof log show`: the last entries.

use super::{existing, no_entry};
use crate::cli::{Common, Outcome, output};
use crate::perflog::{Open, open};
use crate::render::envelope;
use crate::words::printable;
use anyhow::Result;
use clap::Args;
use std::path::Path;

/// Open things that are listed at most, the latest first.
const OPEN: usize = 10;

/// Print the last entries, and what entries leave open
#[derive(Args)]
pub struct Show {
    /// Entries at most
    #[arg(long, value_name = "N", default_value_t = 1)]
    last: usize,
}

impl Show {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let log = existing(path)?;
        let mut entries: Vec<_> = log.entries().iter().collect();
        entries.sort_by_key(|e| e.number);
        let shown = &entries[entries.len().saturating_sub(self.last)..];
        if common.json {
            let values: Vec<_> = shown
                .iter()
                .map(|e| serde_json::json!({"session": e.number, "title": e.title, "text": log.entry_text(e)}))
                .collect();
            let mut value = envelope(&common.verb, &[]);
            value["entries"] = values.into();
            value["open"] = serde_json::json!(open(&log));
            return output::json(&value);
        }
        let mut text: String = shown.iter().map(|e| log.entry_text(e)).collect();
        if entries.is_empty() {
            text += &format!("{}\n", no_entry(path));
        }
        let all = open(&log);
        if !all.is_empty() {
            text += "\nOpen in the log:\n";
        }
        let said = |open: &Open| format!("  session {}, line {}: {}\n", open.session, open.line, open.text);
        text.extend(all.iter().rev().take(OPEN).map(said));
        if all.len() > OPEN {
            text += &format!("  ({} earlier ones; --json has them)\n", all.len() - OPEN);
        }
        output::text(&printable(&text))
    }
}
