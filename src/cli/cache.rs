//! `wireprof cache`: what is kept on disk to save time, and its removal.

use super::{Common, Failed, Outcome, Usage, output};
use crate::cachedir::{self, SIZE_VARIABLE};
use crate::render::{Cell, Column, Report, Section, Table};
use anyhow::{Context, Result, anyhow};
use clap::Args;

/// What is kept on disk to save time (names of functions, unpacked debug information, tables for stacks): place, size,
/// bound; `--clear` removes it
#[derive(Args)]
#[command(after_help = "\
WIREPROF_CACHE_SIZE bounds all of it (default 1G; 0 keeps nothing); what was not used for longest goes first.

Examples:
  wireprof cache
  wireprof cache --clear
  WIREPROF_CACHE_SIZE=4G wireprof sweep --preset postgres")]
pub struct Cache {
    /// Remove all of it; the next run makes it again
    #[arg(long)]
    clear: bool,
}

impl Cache {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let root = cachedir::of_user()
            .ok_or_else(|| anyhow!(Usage(anyhow!("there is no place for a cache: set HOME or XDG_CACHE_HOME"))))?;
        let mut notes = vec![place()];
        if self.clear {
            let cleared = cachedir::clear(&root).with_context(|| format!("cannot clear {}", root.display()));
            let (files, bytes) = cleared.map_err(|error| anyhow!(Failed(error)))?;
            notes.insert(0, format!("Removed {files} files of {}.", size(bytes)));
        }
        let kept = cachedir::kept(&root);
        let row = |kept: &cachedir::Kept| {
            vec![Cell::Text(kept.kind.into()), Cell::Count(kept.files), Cell::Count(kept.bytes)]
        };
        let columns = vec![
            Column::text("kind", "kind"),
            Column::number("files", "files", ""),
            Column::number("bytes", "size", "bytes"),
        ];
        let tables = vec![Table { columns, rows: kept.iter().map(row).collect(), ..Table::default() }];
        let section = Section { id: "cache", title: "Kept".into(), tables, notes, ..Section::default() };
        output::report(
            common,
            &Report { title: "What is kept to save time".into(), sections: vec![section], ..Report::default() },
        )
    }
}

/// Place, size and bound in a sentence.
pub fn place() -> String {
    let Some(root) = cachedir::of_user() else {
        return "nothing is kept: neither HOME nor XDG_CACHE_HOME names a place".into();
    };
    let bytes: u64 = cachedir::kept(&root).iter().map(|kept| kept.bytes).sum();
    let unread = cachedir::not_a_size().map_or(String::new(), |text| {
        format!(", since {SIZE_VARIABLE} says `{text}`, which is no size (write 500M or 4G)")
    });
    match cachedir::most_bytes() {
        0 => format!("{}: nothing is kept ({SIZE_VARIABLE} is 0); {} are there", root.display(), size(bytes)),
        most if !unread.is_empty() => {
            format!("{}: {} of at most {}, the default{unread}", root.display(), size(bytes), size(most))
        }
        most => format!("{}: {} of at most {} ({SIZE_VARIABLE})", root.display(), size(bytes), size(most)),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes >> 20),
    }
}
