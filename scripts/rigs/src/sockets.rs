//! What following the sockets takes: `sockets PAIRS ROUND_TRIPS FOLDER` sends that many round trips over a TCP
//! connection of its own, with the kernel's programs attached and without, by turns, and prints medians of this
//! thread's CPU. One thread is both ends, so that all six events of a round trip are in its CPU; three of them are the
//! server's. The pairs, ns a round trip, are left in the files `with` and `without` of that folder.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use wireprof::clock::thread_cpu;
use wireprof::wire::{Hop, Listens, SocketProgram, WireSource};

/// `select 1` as a Query message, and the ReadyForQuery that an answer ends with
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const QUERY: &[u8] = b"Q\0\0\0\x0dselect 1\0";
const ANSWER: &[u8] = b"Z\0\0\0\x05I";

pub fn main(arguments: &[String]) -> Result<()> {
    let [pairs, round_trips, folder] = arguments else {
        anyhow::bail!("usage: sockets PAIRS ROUND_TRIPS FOLDER");
    };
    let (pairs, round_trips): (usize, usize) = (pairs.parse().context("PAIRS")?, round_trips.parse()?);
    ensure!(pairs > 0 && round_trips > 0, "PAIRS and ROUND_TRIPS are at least 1");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let hops = vec![Hop { name: "target".into(), at: Listens::Port(port) }];
    let mut wire = SocketProgram::open(hops)?;
    round_trips_take(&mut client, &mut server, 10 * round_trips)?;
    let (mut more, mut all, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let mut with = 0.0;
        let mut without = 0.0;
        for followed in [pair % 2 == 0, pair % 2 != 0] {
            if followed {
                wire.start()?;
                let before = seen(&wire)?;
                with = round_trips_take(&mut client, &mut server, round_trips)?;
                let queries = seen(&wire)? - before;
                ensure!(queries == round_trips as u64, "{queries} of {round_trips} round trips were followed");
                wire.stop();
            } else {
                without = round_trips_take(&mut client, &mut server, round_trips)?;
            }
        }
        more.push(with - without);
        all.push(with);
        bare.push(without);
    }
    for (name, values) in [("with", &all), ("without", &bare)] {
        let lines: String = values.iter().map(|value| format!("{value:.3}\n")).collect();
        std::fs::write(Path::new(folder).join(name), lines).with_context(|| format!("{folder}/{name}"))?;
    }
    let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut more, share));
    println!(
        "a round trip over TCP, both ends: {:.0} ns of CPU; followed {median:.0} ns more (quartiles {low:.0} to \
            {high:.0}), {:.0} ns an event; {pairs} pairs of {round_trips} round trips",
        quantile(&mut bare, 0.5),
        median / 6.0,
    );
    Ok(())
}

/// The value below which this share of them lies, at least one of which there is.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// Queries that the programs have seen.
fn seen(wire: &SocketProgram) -> Result<u64> {
    Ok(wire.snapshot()?.hops.iter().flat_map(|hop| hop.connections.values()).map(|one| one.queries).sum())
}

/// CPU of this thread a round trip, ns.
fn round_trips_take(client: &mut TcpStream, server: &mut TcpStream, count: usize) -> Result<f64> {
    let mut buffer = [0; 64];
    let start = thread_cpu();
    for _ in 0..count {
        client.write_all(QUERY)?;
        server.read_exact(&mut buffer[..QUERY.len()])?;
        server.write_all(ANSWER)?;
        client.read_exact(&mut buffer[..ANSWER.len()])?;
    }
    let end = thread_cpu();
    Ok((end - start) as f64 / count as f64)
}
