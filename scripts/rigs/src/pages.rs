//! Writes what is made of the history of benchmarks: `pages ROOT` reads `benches/history.jsonl` under ROOT and writes
//! `docs/benchmarks.md`, `docs/benchmarks.svg`, and the figures that the README and the pages of `docs/` quote.

use crate::history;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

pub fn main(arguments: &[String]) -> Result<()> {
    let root = PathBuf::from(arguments.first().context("usage: pages ROOT")?);
    let text = std::fs::read_to_string(root.join("benches/history.jsonl")).context("benches/history.jsonl")?;
    let lines = history::parse(&text).map_err(anyhow::Error::msg)?;
    write(&root.join("docs/benchmarks.md"), &history::page::page(&lines))?;
    write(&root.join("docs/benchmarks.svg"), &history::draw::draw(&lines))?;
    let documents = std::fs::read_dir(root.join("docs"))?.map(|entry| Ok(entry?.path()));
    for path in documents.chain([Ok(root.join("README.md"))]).collect::<Result<Vec<PathBuf>>>()? {
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let renewed = history::quoted::renewed(&text, &lines);
        let (renewed, _) = renewed.map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
        if renewed != text {
            write(&path, &renewed)?;
        }
    }
    println!("{} lines of {} figures", lines.len(), history::names(&lines).len());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
