//! A long way to the database: a proxy of the testbed's own between the oracle's pool and PostgreSQL. Invariant: each
//! direction takes half of the planted duration, counted from when a message has been read to when it is written;
//! whoever follows the sockets sees the proxy as the database's client, so that what it adds lies on the way and not
//! in the database's hands.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::tally::Counted;
use crate::precise;
use wireprof::clock;

/// Bytes that are passed on at once at most: more than any message of the oracle has.
const CHUNK: usize = 16 * 1024;

/// Starts the proxy; returns the port on which it stands for the database's `port` on this host.
pub fn start(port: u16, plant: Counted<Duration>) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.port();
    thread::Builder::new().name("planted-path".to_owned()).spawn(move || {
        for client in listener.incoming().flatten() {
            // A connection that fails is closed: the pool then opens another one.
            let _ = join(client, port, &plant);
        }
    })?;
    Ok(own)
}

/// A thread for each direction, because each sleeps.
fn join(client: TcpStream, port: u16, plant: &Counted<Duration>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    let (request, answer) = ((client.try_clone()?, server.try_clone()?), (server, client));
    for ((from, to), is_answer) in [(request, false), (answer, true)] {
        let plant = plant.clone();
        let pass_on = move || planted_path(from, to, &plant, is_answer);
        thread::Builder::new().name("planted-path".to_owned()).spawn(pass_on)?;
    }
    Ok(())
}

/// Passes messages on in one direction until an end is closed; then closes the other. A round trip counts as one
/// call, with its answer.
#[inline(never)]
fn planted_path(mut from: TcpStream, mut to: TcpStream, plant: &Counted<Duration>, is_answer: bool) {
    precise::sharpen_timers();
    let half = plant.size.as_nanos() as u64 / 2;
    let mut bytes = [0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let arrived = clock::now();
        precise::sleep_until(arrived + half);
        let waited = Duration::from_nanos(clock::now() - arrived);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
        plant.tally.wait.inc_by(waited.as_secs_f64());
        if is_answer {
            plant.tally.calls.inc();
        }
    }
    for end in [from, to] {
        // Closed already by the other direction, perhaps.
        let _ = end.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::tally::Tally;
    use prometheus::{Counter, IntCounter};

    #[test]
    fn a_round_trip_takes_the_planted_duration_longer_and_is_counted_once() {
        let tally = Tally {
            calls: IntCounter::new("calls", "c").unwrap(),
            cpu: Counter::new("cpu", "c").unwrap(),
            wait: Counter::new("wait", "w").unwrap(),
        };
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = echo.local_addr().unwrap().port();
        let echoing = thread::spawn(move || {
            let mut end = echo.accept().unwrap().0;
            let mut byte = [0];
            while end.read_exact(&mut byte).is_ok() && end.write_all(&byte).is_ok() {}
        });
        let plant = Counted { size: Duration::from_micros(400), tally: tally.clone() };
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, start(port, plant).unwrap())).unwrap();
        for _ in 0..20 {
            let start = clock::now();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            assert!(clock::now() - start >= 400_000);
        }
        drop(client);
        echoing.join().unwrap();
        // The last answer is counted after it was written; of each trip both directions waited.
        assert!((19..=20).contains(&tally.calls.get()), "{}", tally.calls.get());
        assert!(tally.wait.get() >= 19.0 * 400e-6, "{} s", tally.wait.get());
    }
}
