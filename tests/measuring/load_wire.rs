//! The load loop against scripted servers: answers cut anywhere, words before a close, silence. What a real server does
//! rarely, these do every time.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};
use wireprof::clock::{Span, now};
use wireprof::load::{Address, Driver, Load, LoadTrace, LoopKind, Options, PgwireDriver};
use wireprof::workload::Workload;

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Two rows, a notice between them.
fn answer() -> Vec<u8> {
    let notice = message(b'N', b"SNOTICE\0Mby the way\0\0");
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let parts = [message(b'T', b"\0\0"), row.clone(), notice, row, message(b'C', b"SELECT 2\0"), message(b'Z', b"I")];
    parts.concat()
}

fn fatal() -> Vec<u8> {
    message(b'E', b"SFATAL\0C57P01\0Mgone for lunch\0\0")
}

/// Serves one connection: start-up, then `serve` with the number of each query, from 0, until it returns false.
/// Query 0 is the one before the load.
pub fn server(mut serve: impl FnMut(&mut TcpStream, usize) -> bool + Send + 'static) -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut startup).unwrap();
        stream.write_all(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat()).unwrap();
        let mut queries = 0;
        loop {
            let mut header = [0; 5];
            match stream.read_exact(&mut header) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return queries,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return queries,
                read => read.unwrap(),
            }
            let mut body = vec![0; u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize - 4];
            stream.read_exact(&mut body).unwrap();
            if header[0] == b'X' || !serve(&mut stream, queries) {
                return queries;
            }
            queries += 1;
        }
    });
    (port, handle)
}

/// Each test is of both. Where there is no io_uring it is epoll twice.
const LOOPS: [LoopKind; 2] = [LoopKind::Epoll, LoopKind::IoUring];

fn open(port: u16, script: &str, through: LoopKind) -> Box<dyn Load> {
    let address = Address::parse_in(&format!("postgres://a@127.0.0.1:{port}/?sslmode=disable"), &|_| None).unwrap();
    let workload = Workload::parse(script, Path::new("."), "w.ini").unwrap();
    let options = Options { through: Some(through), ..Options::default() };
    PgwireDriver::new(address, workload, options).open(1).unwrap()
}

/// Runs until the load says why it cannot go on; returns that and the whole trace.
fn run_out(port: u16, script: &str, through: LoopKind) -> (String, LoadTrace) {
    let mut load = open(port, script, through);
    let start = now();
    load.start().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let failure = loop {
        if let Some(failure) = load.failed() {
            break failure;
        }
        assert!(Instant::now() < deadline, "the load hangs at {:?}", load.progress());
        sleep(Duration::from_millis(2));
    };
    (failure, load.stop(Span::new(start, now())).unwrap())
}

#[test]
fn answers_cut_at_every_byte_are_counted_once_each() {
    for through in LOOPS {
        let answer = answer();
        let cuts = answer.len() + 1;
        let (port, handle) = server(move |stream, query| {
            let (head, tail) = answer.split_at(query % cuts);
            stream.write_all(head).unwrap();
            sleep(Duration::from_millis(2));
            stream.write_all(tail).unwrap();
            true
        });
        let (failure, trace) = run_out(port, &format!("[a]\nquery=select x\ncount={cuts}\n"), through);
        assert_eq!(failure, "every job of the workload has ended (by its count, stop, arguments or log)");
        assert_eq!((trace.completed, trace.rows), (cuts as u64, 2 * cuts as u64));
        assert_eq!((trace.wrong_rows, trace.error_count(), trace.sessions.lost), (0, 0, 0));
        assert_eq!(handle.join().unwrap(), cuts + 1);
    }
}

#[test]
fn answers_that_trickle_byte_by_byte_are_whole() {
    for through in LOOPS {
        let (port, _) = server(|stream, _| {
            answer().iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
            true
        });
        let (_, trace) = run_out(port, "[a]\nquery=select x\ncount=50\n", through);
        assert_eq!((trace.completed, trace.rows, trace.wrong_rows), (50, 100, 0));
    }
}

#[test]
fn last_words_that_arrive_with_the_close_are_heard() {
    for through in LOOPS {
        // With the answer before them or without, in one segment with the end of the stream or in pieces.
        for (bytes, pause, completed) in
            [(fatal(), 0, 4), ([answer(), fatal()].concat(), 0, 5), (answer()[..20].to_vec(), 0, 4), (fatal(), 3, 4)]
        {
            let said = bytes.ends_with(&fatal());
            let (port, _) = server(move |stream, query| {
                if query < 5 {
                    stream.write_all(&answer()).unwrap();
                    return true;
                }
                let (head, tail) = bytes.split_at(bytes.len() / 2);
                stream.write_all(head).unwrap();
                sleep(Duration::from_millis(pause));
                stream.write_all(tail).unwrap();
                false
            });
            let (failure, trace) = run_out(port, "[a]\nquery=select x\n", through);
            let words = if said {
                "gone for lunch (SQLSTATE 57P01)"
            } else {
                "the server closed the connection (SQLSTATE 08006)"
            };
            assert_eq!(failure, format!("all 1 connections are lost: {words}; look into the server's log"));
            assert_eq!((trace.completed, trace.sessions.lost), (completed, 1));
            assert_eq!(trace.error_count(), 1, "the query under way is an error");
        }
    }
}

#[test]
fn an_idle_connection_that_the_server_closes_is_noticed() {
    for through in LOOPS {
        let (port, _) = server(|stream, query| {
            stream.write_all(&answer()).unwrap();
            if query == 1 {
                sleep(Duration::from_millis(20));
                stream.write_all(&fatal()).unwrap();
            }
            query < 1
        });
        let (failure, trace) = run_out(port, "[a]\nquery=select x\nrate=0.1\n", through);
        assert!(failure.starts_with("all 1 connections are lost: gone for lunch"), "{failure}");
        assert_eq!((trace.completed, trace.error_count(), trace.sessions.lost), (1, 0, 1));
    }
}

#[test]
fn bytes_that_are_no_answer_end_the_connection_and_say_so() {
    for through in LOOPS {
        let (port, _) = server(|stream, query| {
            stream.write_all(if query == 0 { b"Z\0\0\0\x05I" } else { b"?\0\0\0\x04" }).unwrap();
            true
        });
        let (failure, _) = run_out(port, "[a]\nquery=select x\n", through);
        assert!(failure.contains("a message of type 0x3f, which no answer to a query has"), "{failure}");
    }
}

#[test]
fn a_server_that_falls_silent_does_not_hold_up_the_stop() {
    for through in LOOPS {
        let (port, _) = server(|stream, query| {
            if query < 4 {
                stream.write_all(&answer()).unwrap();
            }
            true
        });
        let mut load = open(port, "[a]\nquery=select x\n", through);
        let start = now();
        load.start().unwrap();
        sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let trace = load.stop(Span::new(start, now())).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!((trace.completed, trace.error_count(), trace.sessions.lost), (3, 0, 0));
    }
}
