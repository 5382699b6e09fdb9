//! Cost against size: `scale [--record FILE] PART...` measures each part at each of its sizes, every size in a process
//! of its own, and prints a row of a Markdown table for each cost, with the slope: the exponent of the power of the
//! size that the costs follow, by least squares of logarithms. `--record` replaces the rows of these parts in FILE.
//! SIZES names other sizes. `scale PART SIZE` is that process. Invariant: a row has its unit and its command.

mod binary;
mod clients;
mod cpus;
mod memory;
mod modules;
mod stored;
mod table;
mod tasks;
mod threads;
mod windows;

use anyhow::{Context, Result, bail, ensure};
use std::process::Command;
use table::Row;

/// Names of costs with their values at one size.
pub type Measured = Result<Vec<(&'static str, f64)>>;

/// A cost that a part measures.
pub struct Cost {
    /// As the measuring process prints it.
    pub name: &'static str,
    /// In words, with the unit.
    pub what: &'static str,
    /// The exponent of the size that it may grow with.
    pub most: f64,
}

/// What is measured together.
pub struct Part {
    pub name: &'static str,
    /// What the sizes count.
    pub unit: &'static str,
    pub sizes: &'static [u64],
    pub costs: &'static [Cost],
    /// Measures one size.
    pub measure: fn(u64) -> Measured,
}

const PARTS: [Part; 10] = [
    clients::PART,
    threads::PART,
    tasks::PART,
    modules::PART,
    binary::PART,
    windows::PART,
    cpus::PART,
    stored::RUNS,
    stored::LOG,
    stored::WINDOWS,
];

pub fn main(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        [threads::PROGRAM, size] => threads::program(size.parse()?),
        [modules::PROGRAM, files @ ..] => modules::program(files),
        [part, size] if size.parse::<u64>().is_ok() => {
            for (name, value) in (find(part)?.measure)(size.parse()?)? {
                println!("{name} {value}");
            }
            Ok(())
        }
        ["--record", file, parts @ ..] if !parts.is_empty() => table::record(file, &rows(parts)?),
        [first, ..] if !first.starts_with('-') => rows(&words).map(drop),
        _ => bail!("usage: scale [--record FILE] PART...; parts: {}", PARTS.map(|part| part.name).join(" ")),
    }
}

fn find(name: &str) -> Result<&'static Part> {
    static ALL: [Part; 10] = PARTS;
    ALL.iter().find(|part| part.name == name).with_context(|| format!("{name}: there is no such part"))
}

/// Measures, and prints each row as it is known.
fn rows(parts: &[&str]) -> Result<Vec<Row>> {
    println!("{}", table::HEAD);
    let mut all = Vec::new();
    for name in parts {
        let part = find(name)?;
        let sizes: Vec<u64> = match std::env::var("SIZES") {
            Ok(text) => text.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("SIZES")?,
            Err(_) => part.sizes.to_vec(),
        };
        ensure!(sizes.len() > 1, "one size has no slope");
        let measured = sizes.iter().map(|size| of_child(part, *size)).collect::<Result<Vec<_>>>()?;
        for cost in part.costs {
            let of = |found: &Vec<(String, f64)>| found.iter().find(|(name, _)| name == cost.name).map(|(_, v)| *v);
            let costs = measured.iter().map(of).collect::<Option<Vec<f64>>>();
            let costs = costs.with_context(|| format!("{name} did not measure {}", cost.name))?;
            let row = Row::new(part, cost, &sizes, &costs);
            println!("{row}");
            all.push(row);
        }
    }
    Ok(all)
}

/// One size, in a process that has done nothing else: memory that was freed is not always given back.
fn of_child(part: &Part, size: u64) -> Result<Vec<(String, f64)>> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["scale", part.name, &size.to_string()]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} at {size}: {errors}", part.name);
    eprint!("{errors}");
    let read = |line: &str| -> Result<(String, f64)> {
        let (name, value) = line.split_once(' ').context("a name and a value")?;
        Ok((name.into(), value.parse()?))
    };
    String::from_utf8(output.stdout)?.lines().map(read).collect()
}
