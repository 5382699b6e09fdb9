//! Whether places add up: `places CLIENTS SECONDS` drives the testbed and follows its sockets; prints where a query
//! was, the sum of the places between sending and reading against the generator's own mean latency, and the
//! populations against the clients.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use wireprof::load::{Address, Driver, Options, PgwireDriver};
use wireprof::testbed::{Options as TestbedOptions, Testbed};
use wireprof::wire::{Hop, Listens, Place, SocketProgram, WireSource};
use wireprof::workload::Workload;

pub fn main(arguments: &[String]) -> Result<()> {
    let [clients, seconds] = arguments else { anyhow::bail!("usage: places CLIENTS SECONDS") };
    let (clients, seconds): (usize, f64) = (clients.parse().context("CLIENTS")?, seconds.parse().context("SECONDS")?);
    let testbed =
        Testbed::start(&TestbedOptions { arguments: vec!["--frontend-peek".into()], ..TestbedOptions::default() })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let database = Address::parse(&testbed.ready.postgres.url)?;
    let port = |address: &Address| address.local_port().map(Listens::Port).context("a TCP port of this host");
    let hops =
        vec![Hop { name: "target".into(), at: port(&address)? }, Hop { name: "database".into(), at: port(&database)? }];
    let mut wire = SocketProgram::open(hops.clone())?;
    let mut load =
        PgwireDriver::new(address, Workload::from_query("select * from t"), Options::default()).open(clients)?;
    load.start()?;
    std::thread::sleep(Duration::from_millis(300));
    wire.start()?;
    std::thread::sleep(Duration::from_millis(200));
    let before = wire.snapshot()?;
    wire.take_timelines(seconds)?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = wire.snapshot()?;
    wire.stop();
    let mut delta = before.until(&after, &hops, wire.sends_seen(), load.ends().as_ref());
    delta.add_timelines(wire.timelines(), load.ends().as_ref());
    let trace = load.stop(delta.span)?;
    let latency = trace.mean_latency().context("no query was completed")? / 1e3;
    for hop in &delta.hops {
        println!(
            "{}: {} connections, {} round trips ({:.3} a query), {} pipelined, {} further pieces",
            hop.hop.name,
            hop.connections,
            hop.queries,
            hop.queries as f64 / trace.completed as f64,
            hop.pipelined,
            hop.pieces
        );
        for place in Place::ALL {
            let mean = hop.mean(place).unwrap_or(f64::NAN) / 1e3;
            println!("  {place:<14?} {mean:>9.2} us a round trip, population {:.2}", hop.population(place, delta.span));
        }
        if let Some(sample) = &hop.sample {
            let mean = sample.queries.iter().map(|query| query.latency() as f64).sum::<f64>()
                / 1e3
                / sample.queries.len() as f64;
            println!(
                "  {} timelines (every {}, {} lost), mean {mean:.2} us",
                sample.queries.len(),
                sample.every,
                sample.lost
            );
        }
    }
    let hop = &delta.hops[0];
    let sum: f64 = Place::ALL[1..].iter().filter_map(|place| hop.mean(*place)).sum::<f64>() / 1e3;
    let populations: f64 = Place::ALL.iter().map(|place| hop.population(*place, delta.span)).sum();
    println!(
        "places sum to {sum:.2} us, the generator's mean latency is {latency:.2} us: {:+.2} %; populations sum to \
            {populations:.3} of {clients} clients; {} of {} queries seen",
        (sum / latency - 1.0) * 100.0,
        hop.queries,
        trace.completed
    );
    ensure!(trace.error_count() == 0, "errors: {:?}", trace.errors);
    Ok(())
}
