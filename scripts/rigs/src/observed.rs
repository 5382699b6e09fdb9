//! Pairs of windows with an instrument and without it, for `figure`: `observed OBSERVER.json DIRECTORY` writes, for
//! each instrument that was tried, `INSTRUMENT.with` and `INSTRUMENT.without`, the target's CPU a query in us, one a
//! line and pair by pair, and prints the instruments' names.

use anyhow::{Context, Result};
use std::path::Path;
use wireprof::run::{ObservedWindow, ObserverWindows};

pub fn main(arguments: &[String]) -> Result<()> {
    let [file, directory] = arguments else { anyhow::bail!("usage: observed OBSERVER.json DIRECTORY") };
    let windows: ObserverWindows = serde_json::from_slice(&std::fs::read(file).with_context(|| file.clone())?)?;
    for one in windows.instruments.iter().filter(|one| !one.pairs.is_empty()) {
        let name = serde_json::to_value(one.instrument)?;
        let name = name.as_str().context("an instrument's name is a text")?.replace('_', "-");
        let lines = |of: fn(&wireprof::run::ObservedPair) -> &ObservedWindow| -> String {
            let cost = |window: &ObservedWindow| window.target_cpu as f64 / 1e3 / window.queries as f64;
            one.pairs.iter().map(|pair| format!("{:.4}\n", cost(of(pair)))).collect()
        };
        std::fs::write(Path::new(directory).join(format!("{name}.with")), lines(|pair| &pair.with))?;
        std::fs::write(Path::new(directory).join(format!("{name}.without")), lines(|pair| &pair.without))?;
        println!("{name}");
    }
    Ok(())
}
