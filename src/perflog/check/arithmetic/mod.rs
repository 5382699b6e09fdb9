//! Whether the figures that people wrote can be true together: in tables and in sentences. Invariant: a contradiction
//! is told only where no values within the rounding of what is written agree; what is not understood is counted.

mod capacity;
mod change;
mod changes;
mod figure;
mod grid;
mod head;
mod interval;
mod little;
mod order;
mod page;
mod quoted;
mod sentence;
mod shares;
mod spoken;
mod spoken_facts;
mod sums;
#[cfg(test)]
mod tests;
mod told;
mod unit;

pub use told::{Contradiction, Rule, Told};

use crate::perflog::document::{Document, Entry};
use grid::Grid;
use page::{Part, Piece, Rows, parts};
use quoted::Known;
use std::collections::{BTreeMap, BTreeSet};

/// Reads all that people wrote in a log.
pub fn check(log: &Document) -> Told {
    let mut told = Told::default();
    let cores = Cores::of(log);
    let mut reader = Reader { log, cores, before: String::new(), tables: Vec::new(), told: &mut told };
    let parts = parts(log);
    parts.iter().for_each(|part| reader.take(part));
    // A sentence can stand before the table that it is about.
    parts.iter().for_each(|part| reader.quotations(part));
    told
}

/// The cores that the log's hosts have, as its entries say.
struct Cores {
    log: Option<u64>,
    /// By where the entry begins.
    entries: BTreeMap<usize, u64>,
}

impl Cores {
    fn of(log: &Document) -> Cores {
        let said = |entry: &Entry| Some((entry.range.start, capacity::cores(log.entry_text(entry))?));
        Cores { log: capacity::cores(log.text()), entries: log.entries().iter().filter_map(said).collect() }
    }
}

struct Reader<'a> {
    log: &'a Document,
    cores: Cores,
    /// The words since the last table.
    before: String,
    /// Figures of the tables, by the entry that they stand in.
    tables: Vec<(Option<usize>, Vec<Known>)>,
    told: &'a mut Told,
}

impl Reader<'_> {
    fn take(&mut self, part: &Part) {
        match part {
            Part::Text(piece) => {
                if piece.heading {
                    self.before.clear();
                }
                self.words(piece);
                self.before += &format!("{}\n", piece.text);
            }
            Part::Table(rows) => self.table(rows),
        }
    }

    fn words(&mut self, piece: &Piece) {
        let cores = self.cores(piece.place(0));
        let place = |at: usize| piece.place(at);
        // A table that lacks its rule is no table, and no sentence.
        if piece.text.trim_start().starts_with('|') {
            return;
        }
        for sentence in sentence::sentences(&piece.text) {
            spoken::check(&sentence, &place, self.told);
            spoken_facts::check(&sentence, cores, &place, self.told);
        }
    }

    fn table(&mut self, rows: &Rows) {
        let levels: BTreeSet<u64> = head::levels(&self.before);
        let level = levels.first().copied().filter(|_| levels.len() == 1);
        if let (Some(grid), Some(first)) =
            (Grid::of(rows, &self.before, level), rows.rows.first().and_then(|row| row.first()))
        {
            let cores = self.cores(first.place(0));
            let number = self.tables.len();
            let known = [quoted::known(&grid, number, false), quoted::known(&grid.turned(), number, true)].concat();
            self.tables.push((self.entry(first.place(0)), known));
            for grid in [&grid, &grid.turned()] {
                changes::check(grid, self.told);
                little::check(grid, self.told);
                order::check(grid, self.told);
                sums::check(grid, self.told);
                shares::check(grid, self.told);
                capacity::check(grid, cores, self.told);
            }
        }
        rows.rows.iter().flatten().for_each(|cell| self.cell(cell));
        self.before.clear();
    }

    /// `12,300 -> 14,100 q/s (+14 %)` in a cell is as in a sentence.
    fn cell(&mut self, cell: &Piece) {
        let place = |at: usize| cell.place(at);
        let sentences = sentence::sentences(&cell.text);
        sentences.iter().filter(|s| !s.steps.is_empty()).for_each(|s| spoken::check(s, &place, self.told));
    }

    fn entry(&self, at: usize) -> Option<usize> {
        self.log.entry_at(at).map(|entry| entry.range.start)
    }

    fn quotations(&mut self, part: &Part) {
        let Part::Text(piece) = part else { return };
        let entry = self.entry(piece.place(0));
        let known: Vec<Known> =
            self.tables.iter().filter(|(of, _)| *of == entry).flat_map(|(_, known)| known.clone()).collect();
        for sentence in sentence::sentences(&piece.text) {
            quoted::check(&sentence, &known, &|at| piece.place(at), self.told);
        }
    }

    /// As the entry says, else the log.
    fn cores(&self, at: usize) -> Option<u64> {
        let of_entry = self.entry(at).and_then(|entry| self.cores.entries.get(&entry)).copied();
        of_entry.or(self.cores.log)
    }
}
