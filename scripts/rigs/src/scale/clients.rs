//! The load generator and the program at the sockets by the number of clients, on the testbed.

use super::{Cost, Measured, Part, memory};
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use wireprof::clock::{Span, now};
use wireprof::load::{Address, Driver, Options, PgwireDriver};
use wireprof::testbed::{Options as TestbedOptions, Testbed};
use wireprof::wire::{Hop, Listens, SocketProgram, WireSource};
use wireprof::workload::Workload;

pub const PART: Part = Part {
    name: "clients",
    unit: "clients",
    sizes: &[1, 64, 256, 1_024],
    costs: &[
        Cost { name: "cpu", what: "load generator: CPU a query, us", most: 0.0 },
        Cost { name: "memory", what: "load generator: memory of its connections, MB", most: 1.0 },
        Cost { name: "connect", what: "load generator: connecting all clients, ms", most: 1.0 },
        Cost { name: "snapshot", what: "sockets: one reading of all places, ms", most: 0.5 },
    ],
    measure,
};

/// Seconds under load.
const SECONDS: u64 = 3;
/// Readings of the places.
const READINGS: u32 = 20;

fn measure(clients: u64) -> Measured {
    let testbed =
        Testbed::start(&TestbedOptions { arguments: vec!["--frontend-peek".into()], ..TestbedOptions::default() })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let port = address.port();
    let mut sockets = SocketProgram::open(vec![Hop { name: "server".into(), at: Listens::Port(port) }])?;
    sockets.start()?;
    let (before, began) = (memory::status("RssAnon")?, Instant::now());
    let driver = PgwireDriver::new(address, Workload::from_query("select * from t"), Options::default());
    let mut load = { driver }.open(clients as usize)?;
    let (connect, after) = (began.elapsed(), memory::status("RssAnon")?);
    load.start()?;
    std::thread::sleep(Duration::from_millis(500));
    let start = now();
    std::thread::sleep(Duration::from_secs(SECONDS));
    let end = now();
    let reading = Instant::now();
    for _ in 0..READINGS {
        let seen = sockets.snapshot()?.hops[0].connections.len() as u64;
        ensure!(seen >= clients, "{seen} connections are followed of {clients}");
    }
    let snapshot = reading.elapsed() / READINGS;
    let trace = load.stop(Span::new(start, end))?;
    ensure!(trace.error_count() == 0 && trace.completed > 0, "{} errors: {:?}", trace.error_count(), trace.errors);
    let cpu = trace.generator.cpu.context("the generator's CPU was not measured")?;
    Ok(vec![
        ("cpu", cpu as f64 / 1e3 / trace.completed as f64),
        ("memory", (after - before).max(4_096.0) / 1e6),
        ("connect", connect.as_secs_f64() * 1e3),
        ("snapshot", snapshot.as_secs_f64() * 1e3),
    ])
}
