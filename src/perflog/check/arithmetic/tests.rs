//! Each kind of contradiction, broken once in a text that is sound.

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

/// Rows of cells that bars set apart.
fn table(rows: &[&str]) -> String {
    let rule = rows[0].split('|').map(|_| "---").collect::<Vec<_>>().join(" | ");
    let mut all = vec![rows[0].to_string(), rule];
    all.extend(rows[1..].iter().map(|row| row.to_string()));
    all.iter().map(|row| format!("| {row} |\n")).collect()
}

fn levels() -> String {
    table(&[
        "clients | q/s | mean (us) | min | p50 | p99 | max",
        "1 | 10,589 | 94 | 70 us | 90 us | 181 us | 2 ms",
        "64 | 81,201 | 788 | 0.2 ms | 764 us | 1,490 us | 5 ms",
    ])
}

#[test]
fn levels_must_fit_littles_law_and_quantiles_their_order() {
    breaks(&levels(), "81,201", "287,041", Rule::Little);
    breaks(&levels(), "| 788", "| 140.8", Rule::Little);
    let broken = found(&levels().replace("mean (us)", "mean (ms)"));
    assert!(broken.contains(&(4, Rule::Unit)), "{broken:?}");
    breaks(&levels(), "764 us", "1,764 us", Rule::Order);
    breaks(&levels(), "0.2 ms", "0.9 ms", Rule::Order);
    breaks(&levels(), "5 ms", "0.5 ms", Rule::Order);
    breaks(&levels(), "1,490 us", "1.49 us", Rule::Unit);
    let turned = table(&["| 1 client | 64 clients", "q/s | 10.6k | 81.2k", "avg | 94 us | 0.79 ms"]);
    breaks(&turned, "0.79 ms", "0.29 ms", Rule::Little);
    let rows = table(&["build | tps | avg ms", "a | 81,201 | 0.79", "b | 90,141 | 0.71"]);
    let caption = format!("With 64 clients:\n\n{rows}");
    breaks(&caption, "90,141", "70,141", Rule::Little);
    assert_eq!(found(&caption.replace("clients:", "clients, open loop:").replace("90,141", "9,141")), []);
}

#[test]
fn changes_in_tables_must_follow_from_their_cells() {
    let columns = table(&[
        "n | old q/s | new q/s | delta | %",
        "1 | 10,589 | 11,002 | +413 | +3.9",
        "64 | 81,201 | 98,461 | +17,260 | +21.3",
    ]);
    breaks(&columns, "+413", "+431", Rule::Change);
    breaks(&columns, "+3.9", "-3.9", Rule::Change);
    breaks(&columns, "+21.3", "+12.3", Rule::Change);
    let rows = table(&[
        "what | q/s | mean (ms)",
        "before | 81,201 | 0.788",
        "after | 98,461 | 0.650",
        "change | +21 % | -18 %",
    ]);
    breaks(&rows, "-18 %", "-28 %", Rule::Change);
    breaks(&rows, "+21 %", "1.3x", Rule::Change);
    let two = table(&["| one | other | Δ", "QPS | 41.2k | 47.9k | +16%", "p99 | 854us | 801us | -53us"]);
    breaks(&two, "-53us", "-63us", Rule::Change);
    let ratio = table(&["| 1 | 16 | 64 | 64 / 1", "wait (us) | 12 | 88 | 301 | 25x"]);
    breaks(&ratio, "25x", "35x", Rule::Change);
}

#[test]
fn changes_against_a_row_or_behind_a_value_must_follow_from_it() {
    let scaling = table(&[
        "clients | q/s | scaling",
        "1 | 10,000 | 1.0",
        "4 | 31,012 | 3.1",
        "16 | 63,028 | 6.3",
        "64 | 81,201 | 8.1",
    ]);
    breaks(&scaling, "6.3", "7.3", Rule::Change);
    let beside = table(&["build | q/s | mean", "main | 12,301 | 1.30 ms", "new | 14,112 (+14.7 %) | 1.13 ms (-13 %)"]);
    breaks(&beside, "+14.7 %", "+17.4 %", Rule::Change);
    breaks(&beside, "-13 %", "-31 %", Rule::Change);
    let other = table(&["build | q/s | against session 4", "main | 12,301 | +3 %", "new | 14,112 | +40 %"]);
    assert_eq!(found(&other), []);
}

#[test]
fn sums_shares_and_parts_must_fit_their_whole() {
    let phases = table(&[
        "phase | time (us) | share",
        "get | 11.2 | 3.7 %",
        "prepare | 3.1 | 1.0 %",
        "query | 291.4 | 95.3 %",
        "- of which waiting | 190 | 62 %",
        "sum | 305.7 | 100 %",
    ]);
    breaks(&phases, "305.7", "350.7", Rule::Sum);
    breaks(&phases, "95.3 %", "96.3 %", Rule::Change);
    breaks(&phases, "190", "391", Rule::Part);
    breaks(&phases.replace("sum", "total"), "305.7", "280.0", Rule::Part);
    let columns = table(&["clients | get (us) | query (us) | total (us)", "1 | 10 | 100 | 110", "64 | 20 | 450 | 470"]);
    breaks(&columns, "470", "370", Rule::Part);
    let shares = table(&["where | share of latency", "a | 60 %", "b | 30 %", "c | 10 %"]);
    breaks(&shares, "10 %", "20 %", Rule::Shares);
    breaks("Of the 788 us, 452 us are in the database.", "452", "812", Rule::Part);
    breaks("It spends 452 us of 788 us (57 %) there.", "452", "812", Rule::Part);
    breaks("It spends 452 us of 788 us (57 %) there.", "57 %", "75 %", Rule::Change);
    breaks("Of the latency 62 % is in a, 21 % in b and 14 % in c.", "62 %", "72 %", Rule::Shares);
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
    breaks("- N=16: 41,200 q/s, mean 388 us", "388", "488", Rule::Little);
    breaks("1,369,740 queries in 20 s (68,487 q/s).", "68,487", "86,487", Rule::Count);
    breaks("Ran for 30 s at 41,200 q/s, so 1,236,000 queries.", "1,236", "2,236", Rule::Count);
    breaks("On 8 cores it used 112 s of CPU in 20 s.", "112", "212", Rule::Cpu);
    breaks("12,300 -> 14,100 -> 15,000 q/s (+22 %).", "+22 %", "+32 %", Rule::Change);
    breaks("It went up from 95 us to 120 us.", "up", "down", Rule::Direction);
    assert_eq!(found("12,300 -> 14,100 q/s, +24 % since session 3; CPU 80 % (12,300 -> 14,100 q/s)."), []);
}

#[test]
fn a_sentence_on_a_table_of_its_entry_must_follow_from_it() {
    let said = |words: &str| format!("## Session 1: a\n\n{words}\n\n{}\n## Session 2: b\n", levels());
    breaks(&said("From 1 to 64 clients throughput rises 7.7x."), "7.7x", "5.7x", Rule::Change);
    breaks(&said("The mean grows by 694 us from 1 to 64 clients."), "694 us", "594 us", Rule::Change);
    breaks(&said("From 1 to 64 clients p99 is 8.2x."), "8.2x", "2.8x", Rule::Change);
    assert_eq!(found(&said("From 1 to 64 clients CPU a query falls 2.2x, latency aside.")), []);
    assert_eq!(found(&said("From 1 to 16 clients throughput rises 2.2x.")), []);
}

#[test]
fn cpu_and_counts_of_tables_must_be_possible() {
    let rows = table(&["clients | q/s | CPU (us/query) | CPU (%)", "64 | 81,201 | 31 | 252"]);
    let cpu = format!("The host has 4 cores.\n\n{rows}");
    breaks(&cpu, "| 31 |", "| 61 |", Rule::Cpu);
    breaks(&cpu, "252", "452", Rule::Cpu);
    let counts = table(&["queries | duration (s) | q/s", "1,369,740 | 20 | 68,487"]);
    breaks(&counts, "1,369,740", "1,963,740", Rule::Count);
}

#[test]
fn what_is_not_understood_is_counted_and_not_wrong() {
    let log = Document::parse(table(&["thing | a | b | c | gain", "one | 5 | 7 | 9 | 500 %"]));
    let told = check(&log);
    assert_eq!((told.contradictions().count(), told.unknowns().count()), (0, 1));
}
