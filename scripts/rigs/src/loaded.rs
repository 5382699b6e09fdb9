//! The testbed under load, for benchmarks of samplers: `loaded CLIENTS [TESTBED]` prints the testbed's process id
//! when the load runs, and ends both when its standard input is closed. TESTBED is its binary, that beside this one
//! unless given.

use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::time::Duration;
use wireprof::clock::{Span, now};
use wireprof::load::{Address, Driver, Options, PgwireDriver};
use wireprof::testbed::{Options as TestbedOptions, Testbed};
use wireprof::workload::Workload;

pub fn main(arguments: &[String]) -> Result<()> {
    let mut arguments = arguments.iter();
    let clients = arguments.next().context("usage: loaded CLIENTS [TESTBED]")?.parse().context("CLIENTS")?;
    let testbed = Testbed::start(&TestbedOptions {
        binary: arguments.next().map(Into::into),
        arguments: vec!["--frontend-peek".into()],
        ..TestbedOptions::default()
    })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let mut load =
        PgwireDriver::new(address, Workload::from_query("select * from t"), Options::default()).open(clients)?;
    load.start()?;
    let start = now();
    std::thread::sleep(Duration::from_millis(500));
    println!("{}", testbed.ready.pid);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let trace = load.stop(Span::new(start, now()))?;
    ensure!(trace.error_count() == 0 && trace.completed > 0, "{} errors: {:?}", trace.error_count(), trace.errors);
    Ok(())
}
