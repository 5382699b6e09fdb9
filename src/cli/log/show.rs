//! `wireprof log show`: the last entries.

use super::existing;
use crate::cli::{Common, Outcome, output};
use anyhow::Result;
use clap::Args;
use std::path::Path;

/// Print the last entries
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
            return output::text(&format!("{:#}\n", serde_json::json!({"schema": 1, "entries": values})));
        }
        output::text(&shown.iter().map(|e| log.entry_text(e)).collect::<String>())
    }
}
