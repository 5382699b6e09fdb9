//! The metrics' port and the proxy of a round, which misbehave from an instant on. Invariant: they live in threads of
//! the rig and end with their value.

use super::plan::{Metrics, Proxy};
use anyhow::Result;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the threads of one server know of each other.
#[derive(Default)]
pub struct State {
    /// The fault has begun.
    pub wrong: AtomicBool,
    over: AtomicBool,
}

pub struct Server {
    pub address: SocketAddr,
    pub state: Arc<State>,
    /// Of a proxy: the sockets of both sides.
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.each(Shutdown::Both);
    }
}

impl Server {
    fn listen(serve: impl Fn(TcpStream, &State, &Mutex<Vec<TcpStream>>) + Send + Sync + 'static) -> Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (state, open) = (Arc::new(State::default()), Arc::new(Mutex::new(Vec::new())));
        let (of_thread, sockets, serve) = (state.clone(), open.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.over.load(Ordering::Relaxed) {
                    return;
                }
                let (state, sockets, serve) = (of_thread.clone(), sockets.clone(), serve.clone());
                std::thread::spawn(move || serve(stream, &state, &sockets));
            }
        });
        Ok(Server { address, state, open })
    }

    /// A metrics' port; before its fault it answers a few series.
    pub fn metrics(fault: Metrics) -> Result<Server> {
        Server::listen(move |stream, state, _| {
            // A client that goes away ends its own connection only.
            let _ = answer_all(stream, state, fault);
        })
    }

    /// Passes bytes on to a port of this host.
    pub fn proxy(port: u16, fault: Proxy) -> Result<Server> {
        Server::listen(move |stream, state, sockets| {
            let wrong = || state.wrong.load(Ordering::Relaxed);
            if wrong() && matches!(fault, Proxy::Refuse | Proxy::Reset | Proxy::HalfClose) {
                return;
            }
            let Ok(behind) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let pair = [&stream, &behind].map(TcpStream::try_clone);
            let [Ok(client), Ok(server)] = pair else { return };
            sockets.lock().expect("nobody panics").extend([&stream, &behind].iter().flat_map(|one| one.try_clone()));
            std::thread::scope(|scope| {
                scope.spawn(|| pass(&client, &behind, &|| None));
                let spoilt = || (wrong() && fault == Proxy::Garbage).then_some(b"\xff\xff\xff\xff\xff".as_slice());
                pass(&server, &stream, &|| {
                    while wrong() && fault == Proxy::Stall && !state.over.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    spoilt()
                });
            });
        })
    }

    /// Begins the fault.
    pub fn misbehave(&self, fault: Option<Proxy>) {
        self.state.wrong.store(true, Ordering::Relaxed);
        match fault {
            Some(Proxy::Reset) => {
                // What lies unread makes the kernel answer with a reset.
                self.open.lock().expect("nobody panics").iter().for_each(linger_none);
                self.each(Shutdown::Both);
            }
            Some(Proxy::HalfClose) => self.each(Shutdown::Write),
            _ => {}
        }
    }

    fn each(&self, how: Shutdown) {
        self.open.lock().expect("nobody panics").drain(..).for_each(|one| drop(one.shutdown(how)));
    }
}

fn linger_none(stream: &TcpStream) {
    let _ = stream.set_nonblocking(true);
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, instead: &dyn Fn() -> Option<&'static [u8]>) {
    let mut buffer = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(instead().unwrap_or(&buffer[..count])).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn series(count: usize, scrape: u64) -> String {
    let mut text = String::from("# TYPE queries_total counter\n");
    for number in 0..count {
        let _ = writeln!(text, "queries_total{{shard=\"{number}\"}} {}", scrape * 10 + number as u64);
    }
    text
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n")
}

fn answer_all(mut stream: TcpStream, state: &State, fault: Metrics) -> std::io::Result<()> {
    let over = || state.over.load(Ordering::Relaxed);
    for scrape in 0.. {
        // A request has no body, and one read is enough for it.
        if stream.read(&mut [0; 4_096])? == 0 {
            return Ok(());
        }
        let wrong = state.wrong.load(Ordering::Relaxed);
        let body = match fault {
            Metrics::Many(count) => series(count, scrape),
            _ => series(20, scrape),
        };
        match fault {
            Metrics::Hang if wrong => {
                while !over() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Metrics::Trickle if wrong => {
                stream.write_all(head(body.len()).as_bytes())?;
                for byte in body.bytes().take_while(|_| !over()) {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(30));
                }
            }
            Metrics::LongLength if wrong => {
                stream.write_all(format!("{}{body}", head(body.len() + 5_000)).as_bytes())?;
                return Ok(());
            }
            Metrics::ShortLength if wrong => {
                stream.write_all(format!("{}{body}", head(body.len() / 2)).as_bytes())?;
            }
            Metrics::Reset | Metrics::Restart if wrong => return again(&mut stream, state, fault),
            Metrics::Endless if wrong => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n")?;
                let line = body.repeat(500);
                while !over() {
                    stream.write_all(line.as_bytes())?;
                }
            }
            Metrics::Garbage if wrong => stream.write_all(b"\0\xff\xfe not HTTP at all\r\n\r\n")?,
            _ => stream.write_all(format!("{}{body}", head(body.len())).as_bytes())?,
        }
    }
    Ok(())
}

/// Drops the connection; one that restarts answers again after some time.
fn again(stream: &mut TcpStream, state: &State, fault: Metrics) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Both)?;
    if fault == Metrics::Restart {
        std::thread::sleep(Duration::from_millis(700));
        state.wrong.store(false, Ordering::Relaxed);
    }
    Ok(())
}
