//! A server that speaks just enough of PostgreSQL's protocol, as a process of its own: `faults serve` prints its port,
//! and does what a line on its standard input says. Invariant: it ends when its standard input does.
//!
//! Messages: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use anyhow::{Context, Result};
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What it does now: 0 answers; the others are the places in `WORDS` from 1.
static MODE: AtomicU8 = AtomicU8::new(0);
const WORDS: [&str; 9] = ["hang", "close", "garbage", "wronglength", "errors", "rows", "exec", "forks", "end"];

/// The longest message that is read.
const LONGEST: usize = 1 << 20;

pub fn serve(port: Option<&String>) -> Result<()> {
    let port = match port {
        Some(port) => port.parse().context("PORT")?,
        None => 0,
    };
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(session(stream)));
        }
    });
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mode = WORDS.iter().position(|word| *word == line).context("no such word")? as u8 + 1;
        MODE.store(mode, Ordering::Relaxed);
        match line.as_str() {
            "exec" => return Err(Command::new("sleep").arg("20").exec().into()),
            "forks" => {
                let sleeps = |_| Command::new("sleep").arg("1").spawn();
                (0..100).map(sleeps).collect::<Result<Vec<_>, _>>()?.iter_mut().for_each(|one| drop(one.wait()));
            }
            "end" => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn rows(count: usize) -> Vec<u8> {
    let column = [&b"\0\x01a\0"[..], &[0; 6], &23u32.to_be_bytes(), &[0, 4, 255, 255, 255, 255, 0, 0]].concat();
    let row = message(b'D', &[&[0, 1, 0, 0, 0, 1][..], b"1"].concat());
    let done = message(b'C', format!("SELECT {count}\0").as_bytes());
    [message(b'T', &column), row.repeat(count), done, ready()].concat()
}

fn session(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [length, code] =
            [&head[..4], &head[4..]].map(|part| part.iter().fold(0, |sum, b| (sum << 8) | *b as usize));
        if code == 80_877_103 || code == 80_877_104 {
            stream.write_all(b"N")?;
            continue;
        }
        let mut rest = vec![0; length.clamp(8, LONGEST) - 8];
        stream.read_exact(&mut rest)?;
        break;
    }
    let parameter = message(b'S', b"server_version\x0016.0\0");
    stream.write_all(&[message(b'R', &[0; 4]), parameter, message(b'K', &[0; 8]), ready()].concat())?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = head[1..].iter().fold(0, |sum, b| (sum << 8) | *b as usize);
        let mut body = vec![0; length.clamp(4, LONGEST) - 4];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'X' => return Ok(()),
            b'Q' => answer(&mut stream)?,
            _ => {}
        }
    }
}

fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    // As long as a small query takes.
    std::thread::sleep(Duration::from_micros(200));
    let refusal = message(b'E', b"SERROR\0VERROR\0CXX000\0Ma round's fault\0\0");
    match MODE.load(Ordering::Relaxed).checked_sub(1).map(|at| WORDS[at as usize]) {
        Some("hang") => {
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        Some("close") => Err(std::io::ErrorKind::Other.into()),
        Some("garbage") => stream.write_all(&[0xff; 64]),
        Some("wronglength") => stream.write_all(&[b'D', 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]),
        Some("errors") => stream.write_all(&[refusal, ready()].concat()),
        Some("rows") => stream.write_all(&rows(200_000)),
        _ => stream.write_all(&rows(1)),
    }
}
