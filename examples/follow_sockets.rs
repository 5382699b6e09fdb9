//! Follows the connections to a port of this host and prints where their queries are: `sudo cargo run --release
//! --example follow_sockets -- PORT SECONDS`, while somebody drives load. Sends nothing itself.

use anyhow::{Context, Result};
use std::time::Duration;
use wireprof::wire::{Hop, Listens, Place, SocketProgram, WireSource};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, seconds] = &arguments[..] else { anyhow::bail!("usage: follow_sockets PORT SECONDS") };
    let (port, seconds): (u16, f64) = (port.parse().context("PORT")?, seconds.parse().context("SECONDS")?);
    let hops = vec![Hop { name: "server".into(), at: Listens::Port(port) }];
    let mut sockets = SocketProgram::open(hops.clone())?;
    sockets.start()?;
    let before = sockets.snapshot()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = sockets.snapshot()?;
    sockets.stop();
    let delta = before.until(&after, &hops, sockets.sends_seen(), None);
    for hop in &delta.hops {
        println!("{}: {} round trips on {} connections in {seconds} s", hop.hop.name, hop.queries, hop.connections);
        for place in Place::ALL {
            match hop.mean(place) {
                Some(nanos) => println!("  {place:?}: {:.1} us a round trip", nanos / 1e3),
                None => println!("  {place:?}: not measured"),
            }
        }
    }
    Ok(())
}
