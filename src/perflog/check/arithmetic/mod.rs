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
mod told;
mod unit;

pub use told::{Contradiction, Rule, Told};

use crate::perflog::document::Document;
use grid::Grid;
use page::{Part, Piece, Rows, parts};
use quoted::Known;
use std::collections::BTreeSet;

/// Reads all that people wrote in a log.
pub fn check(log: &Document) -> Told {
    let mut told = Told::default();
    let mut reader = Reader { log, before: String::new(), tables: Vec::new(), told: &mut told };
    let parts = parts(log);
    parts.iter().for_each(|part| reader.take(part));
    // A sentence can stand before the table that it is about.
    parts.iter().for_each(|part| reader.quotations(part));
    told
}

struct Reader<'a> {
    log: &'a Document,
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
        let of_entry = self.log.entry_at(at).and_then(|entry| capacity::cores(self.log.entry_text(entry)));
        of_entry.or_else(|| capacity::cores(self.log.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and rule of all contradictions.
    fn found(text: &str) -> Vec<(usize, Rule)> {
        let log = Document::parse(text.into());
        check(&log).contradictions().map(|(at, found)| (log.line_at(at), found.rule)).collect()
    }

    /// The sound text gives nothing, and something was held against something; broken once it gives this rule.
    fn breaks(sound: &str, written: &str, wrong: &str, rule: Rule) {
        let log = Document::parse(sound.into());
        assert_eq!((found(sound), check(&log).held() > 0), (vec![], true), "{sound}");
        assert!(sound.contains(written), "{written} is not in {sound}");
        let line = sound[..sound.find(written).unwrap()].matches('\n').count() + 1;
        let broken = found(&sound.replacen(written, wrong, 1));
        assert!(broken.contains(&(line, rule)), "{wrong} in {sound}: {broken:?}");
    }

    const LEVELS: &str = "| clients | q/s | mean (us) | min | p50 | p99 | max |\n|---|---|---|---|---|---|---|\n\
        | 1 | 10,589 | 94 | 70 us | 90 us | 181 us | 2 ms |\n| 64 | 81,201 | 788 | 0.2 ms | 764 us | 1,490 us | 5 ms |\n";

    #[test]
    fn levels_must_fit_littles_law_and_quantiles_their_order() {
        breaks(LEVELS, "81,201", "287,041", Rule::Little);
        breaks(LEVELS, "| 788", "| 140.8", Rule::Little);
        breaks(LEVELS, "mean (us)", "mean (ms)", Rule::Unit);
        breaks(LEVELS, "764 us", "1,764 us", Rule::Order);
        breaks(LEVELS, "0.2 ms", "0.9 ms", Rule::Order);
        breaks(LEVELS, "5 ms", "0.5 ms", Rule::Order);
        breaks(LEVELS, "1,490 us", "1.49 us", Rule::Unit);
        let turned = "| | 1 client | 64 clients |\n|---|---|---|\n| q/s | 10.6k | 81.2k |\n| avg | 94 us | 0.79 ms |\n";
        breaks(turned, "81.2k", "31.2k", Rule::Little);
        let caption = "With 64 clients:\n\n| build | tps | avg ms |\n|---|---|---|\n| a | 81,201 | 0.79 |\n| b | 90,141 \
                       | 0.71 |\n";
        breaks(caption, "90,141", "70,141", Rule::Little);
        assert_eq!(found(&caption.replace("clients:", "clients, open loop:").replace("90,141", "9,141")), []);
    }

    #[test]
    fn changes_in_tables_must_follow_from_their_cells() {
        let columns = "| n | old q/s | new q/s | delta | % |\n|---|---|---|---|---|\n| 1 | 10,589 | 11,002 | +413 | +3.9 \
                       |\n| 64 | 81,201 | 98,461 | +17,260 | +21.3 |\n";
        breaks(columns, "+413", "+431", Rule::Change);
        breaks(columns, "+3.9", "-3.9", Rule::Change);
        breaks(columns, "+21.3", "+12.3", Rule::Change);
        let rows = "| what | q/s | mean (ms) |\n|---|---|---|\n| before | 81,201 | 0.788 |\n| after | 98,461 | 0.650 |\n| \
                    change | +21 % | -18 % |\n";
        breaks(rows, "-18 %", "-28 %", Rule::Change);
        breaks(rows, "+21 %", "1.3x", Rule::Change);
        let ratio = "| | 1 | 16 | 64 | 64 / 1 |\n|---|---|---|---|---|\n| wait (us) | 12 | 88 | 301 | 25x |\n";
        breaks(ratio, "25x", "35x", Rule::Change);
        let scaling = "| clients | q/s | scaling |\n|---|---|---|\n| 1 | 10,000 | 1.0 |\n| 4 | 31,012 | 3.1 |\n| 16 | 63,028 \
                       | 6.3 |\n| 64 | 81,201 | 8.1 |\n";
        breaks(scaling, "6.3", "7.3", Rule::Change);
        let beside = "| build | q/s | mean |\n|---|---|---|\n| main | 12,301 | 1.30 ms |\n| new | 14,112 (+14.7 %) | 1.13 ms \
                      (-13 %) |\n";
        breaks(beside, "+14.7 %", "+17.4 %", Rule::Change);
        breaks(beside, "-13 %", "-31 %", Rule::Change);
    }

    #[test]
    fn sums_shares_and_parts_must_fit_their_whole() {
        let phases = "| phase | time (us) | share |\n|---|---|---|\n| get | 11.2 | 3.7 % |\n| prepare | 3.1 | 1.0 % |\n| \
                      query | 291.4 | 95.3 % |\n| - of which waiting | 190 | 62 % |\n| sum | 305.7 | 100 % |\n";
        breaks(phases, "305.7", "350.7", Rule::Sum);
        breaks(phases, "95.3 %", "96.3 %", Rule::Change);
        breaks(phases, "190", "391", Rule::Part);
        breaks(&phases.replace("sum", "total"), "305.7", "280.0", Rule::Part);
        let columns = "| clients | get (us) | query (us) | total (us) |\n|---|---|---|---|\n| 1 | 10 | 100 | 110 |\n| 64 | 20 \
                       | 450 | 470 |\n";
        breaks(columns, "470", "370", Rule::Part);
        let shares = "| where | share of latency |\n|---|---|\n| a | 60 % |\n| b | 30 % |\n| c | 10 % |\n";
        breaks(shares, "30 %", "40 %", Rule::Shares);
        breaks("Of the 788 us, 452 us are in the database.", "452", "812", Rule::Part);
        breaks("It spends 452 us of 788 us (57 %) there.", "452", "812", Rule::Part);
        breaks("It spends 452 us of 788 us (57 %) there.", "57 %", "75 %", Rule::Change);
        breaks("Of the latency 62 % is in a, 21 % in b and 14 % in c.", "21 %", "31 %", Rule::Shares);
    }

    #[test]
    fn sentences_must_follow_from_their_own_figures() {
        let change = "At 16 clients 12,300 -> 14,100 q/s (+14 %, 1.15x), mean 1,300 -> 1,130 us.";
        breaks(change, "+14 %", "+24 %", Rule::Change);
        breaks(change, "1.15x", "1.51x", Rule::Change);
        breaks(change, "1,130", "2,130", Rule::Little);
        let spoken = "The mean fell by 13 % from 1,301 us to 1,131 us.";
        breaks(spoken, "13 %", "31 %", Rule::Change);
        breaks(spoken, "fell", "rose", Rule::Direction);
        breaks("Latency went from 1,301 us to 1,131 us, 13 % less.", "less", "more", Rule::Direction);
        breaks("It went from 1.301 ms to 1,131 us (-13 %).", "1.301 ms", "1.301 us", Rule::Unit);
        breaks("At 64 clients p50 764 us, p99 1.49 ms.", "1.49 ms", "1.49 us", Rule::Unit);
        breaks("64 clients, 81,201 q/s and 788 us.", "788", "140.8", Rule::Little);
        let counts = "1,369,740 queries in 20 s (68,487 q/s).";
        breaks(counts, "68,487", "86,487", Rule::Count);
        breaks("On 8 cores it used 112 s of CPU in 20 s.", "112", "212", Rule::Cpu);
        breaks("12,300 -> 14,100 -> 15,000 q/s (+22 %).", "+22 %", "+32 %", Rule::Change);
    }

    #[test]
    fn a_sentence_on_a_table_of_its_entry_must_follow_from_it() {
        let said = |words: &str| format!("## Session 1: a\n\n{words}\n\n{LEVELS}\n## Session 2: b\n");
        breaks(&said("From 1 to 64 clients throughput rises 7.7x."), "7.7x", "5.7x", Rule::Change);
        breaks(&said("The mean grows by 694 us from 1 to 64 clients."), "694 us", "594 us", Rule::Change);
        breaks(&said("From 1 to 64 clients p99 is 8.2x."), "8.2x", "2.8x", Rule::Change);
        assert_eq!(found(&said("From 1 to 64 clients CPU a query falls 2.2x, latency aside.")), []);
        assert_eq!(found(&said("From 1 to 16 clients throughput rises 2.2x.")), []);
    }

    #[test]
    fn cpu_and_counts_of_tables_must_be_possible() {
        let cpu = "The host has 4 cores.\n\n| clients | q/s | CPU (us/query) | CPU (%) |\n|---|---|---|---|\n| 64 | 81,201 | \
                   31 | 252 |\n";
        breaks(cpu, "| 31 |", "| 61 |", Rule::Cpu);
        breaks(cpu, "252", "452", Rule::Cpu);
        let counts = "| queries | duration (s) | q/s |\n|---|---|---|\n| 1,369,740 | 20 | 68,487 |\n";
        breaks(counts, "68,487", "88,487", Rule::Count);
    }

    #[test]
    fn what_is_not_understood_is_counted_and_not_wrong() {
        let log = Document::parse("| thing | a | b | gain |\n|---|---|---|---|\n| x | 5 | 7 | 22 % |\n".into());
        let told = check(&log);
        assert_eq!((told.contradictions().count(), told.unknowns().count()), (0, 1));
    }
}
