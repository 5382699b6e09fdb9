//! The ring by itself, against the other ends of its sockets.

use super::*;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Sockets of a ring, their other ends, the ring and its buffers; `None` where the kernel gives no ring.
fn begun(count: usize) -> Option<(Vec<UnixStream>, Vec<UnixStream>, Ring, Buffers)> {
    let (own, others): (Vec<_>, Vec<_>) = (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
    own.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    let mut ring = match Ring::new(&own.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>()) {
        Ok(ring) => ring,
        Err(error) => {
            eprintln!("skipped: io_uring {}", refusal(&error));
            return None;
        }
    };
    let buffers = ring.begin().unwrap();
    (0..count).for_each(|session| ring.receive(session));
    Some((own, others, ring, buffers))
}

/// Bytes of a session until its end, or until `wanted` have come.
fn received(ring: &mut Ring, buffers: &mut Buffers, wanted: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while bytes.len() < wanted {
        ring.submit().unwrap();
        ring.wait(PATIENCE).unwrap();
        while let Some(completion) = ring.next() {
            let Completion::Received { result, piece, .. } = completion else { panic!("{completion:?}") };
            let ended = result.unwrap() == 0;
            if let Some(piece) = piece {
                bytes.extend(buffers.bytes(&piece));
                buffers.give(piece);
            }
            if ended {
                return (bytes, true);
            }
        }
    }
    (bytes, false)
}

#[test]
fn requests_of_many_sessions_go_out_with_one_submission_and_only_then() {
    let Some((_own, mut others, mut ring, _buffers)) = begun(40) else { return };
    for session in 0..40 {
        assert!(ring.send(session, format!("request {session:2}").as_bytes()));
    }
    assert!(!ring.send(0, b"a second one has no room"));
    let mut bytes = [0; 10];
    others[0].set_nonblocking(true).unwrap();
    assert_eq!(others[0].read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    ring.submit().unwrap();
    for (session, other) in others.iter_mut().enumerate() {
        other.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, format!("request {session:2}").as_bytes());
    }
    assert!(ring.next().is_none(), "a request that was sent is not heard of");
    assert!(ring.send(0, b"now it has"));
    assert!(!ring.send(1, &[0; LONGEST + 1]), "a long one is not for the ring");
}

#[test]
fn a_request_without_room_is_told_with_what_was_sent_of_it() {
    let Some((mut own, mut others, mut ring, _buffers)) = begun(1) else { return };
    // All but a few bytes of the socket's room are taken.
    while own[0].write(&[1; 64]).is_ok() {}
    let mut taken = vec![0; 2 * LONGEST];
    others[0].read_exact(&mut taken).unwrap();
    let mut told = None;
    let mut whole = 0;
    while told.is_none() {
        assert!(ring.send(0, &[2; LONGEST]));
        ring.submit().unwrap();
        told = ring.next();
        whole += 1;
        assert!(whole < 10_000, "the socket takes everything");
    }
    let Some(Completion::Unsent { session: 0, sent: Ok(sent) }) = told else { panic!("{told:?}") };
    assert!(sent < LONGEST);
    drop(own);
    drop(ring);
    let mut rest = Vec::new();
    others[0].read_to_end(&mut rest).unwrap();
    assert_eq!(rest.iter().filter(|byte| **byte == 2).count(), (whole - 1) * LONGEST + sent);
}

#[test]
fn an_answer_larger_than_all_buffers_arrives_in_order_and_then_the_end() {
    let Some((_own, mut others, mut ring, mut buffers)) = begun(2) else { return };
    let answer: Vec<u8> = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
    let sent = answer.clone();
    let mut other = others.remove(1);
    let writer = std::thread::spawn(move || other.write_all(&sent).map(|()| other));
    let (bytes, ended) = received(&mut ring, &mut buffers, answer.len());
    assert!(bytes == answer && !ended, "{} bytes", bytes.len());
    drop(writer.join());
    assert_eq!(received(&mut ring, &mut buffers, 1), (Vec::new(), true));
}

#[test]
fn after_leaving_nothing_is_taken_from_a_socket() {
    let Some((mut own, mut others, mut ring, _buffers)) = begun(3) else { return };
    ring.watch(own[0].as_raw_fd());
    ring.submit().unwrap();
    ring.leave();
    while ring.under_way() > 0 {
        ring.submit().unwrap();
        ring.wait(PATIENCE).unwrap();
        let heard = ring.next();
        assert!(heard.is_none(), "{heard:?}");
    }
    others[2].write_all(b"late").unwrap();
    let mut bytes = [0; 4];
    own[2].read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"late");
}

#[test]
fn a_ring_that_is_dropped_lets_its_sockets_go() {
    let Some((own, mut others, ring, _buffers)) = begun(3) else { return };
    drop(ring);
    drop(own);
    others[1].set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    assert_eq!(others[1].read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_session_that_is_forgotten_is_not_heard_of() {
    let Some((_own, mut others, mut ring, mut buffers)) = begun(2) else { return };
    ring.forget(0);
    ring.submit().unwrap();
    while ring.under_way() > 1 {
        ring.wait(PATIENCE).unwrap();
        while ring.next().is_some() {}
    }
    others[0].write_all(b"unheard").unwrap();
    others[1].write_all(b"heard").unwrap();
    assert_eq!(received(&mut ring, &mut buffers, 5), (b"heard".to_vec(), false));
}
