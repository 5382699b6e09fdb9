//! What a hostile server answers. Invariant: the reading does not depend on where the stream is cut, and nothing is
//! kept that was not received.

use crate::feed::Feed;
use crate::load::results::results;
use crate::load::scanner::{Answer, Scanner, Unreadable, error_fields};

/// Messages of a stream that is cut wherever the first bytes say.
pub fn answer(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let cuts: Vec<usize> = (0..feed.byte() % 8).map(|_| usize::from(feed.half())).collect();
    let stream = if feed.byte() & 1 == 0 { feed.0.to_vec() } else { messages(&mut feed) };
    let whole = read([&stream[..]]);
    let single = read(stream.chunks(1));
    assert_eq!(single, whole, "byte by byte");
    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(read(pieces), whole, "wherever it is cut");
    let kept: usize = whole.0.iter().filter_map(|answer| answer.error.as_ref().map(Vec::len)).sum();
    assert!(kept <= stream.len(), "nothing is kept that was not received");
    for answer in &whole.0 {
        let (sqlstate, message) = error_fields(answer.error.as_deref().unwrap_or_default());
        assert!(!sqlstate.is_empty() || !message.is_empty() || answer.error.is_some());
    }
    let found = results(&stream);
    let rows: usize = found.iter().map(|result| result.rows).sum();
    assert!(rows <= stream.len() / 5, "a row has a header");
}

/// The answers up to the first message that none has, and that one.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Answer>, Option<Unreadable>) {
    let (mut scanner, mut answer, mut answers) = (Scanner::default(), Answer::default(), Vec::new());
    for mut piece in pieces {
        loop {
            match scanner.scan(piece, &mut answer) {
                Ok(Some(used)) => {
                    answers.push(std::mem::take(&mut answer));
                    piece = &piece[used..];
                }
                Ok(None) => break,
                Err(unreadable) => return (answers, Some(unreadable)),
            }
        }
    }
    answers.push(answer);
    (answers, None)
}

/// Messages that servers send, with lengths that are mostly right.
fn messages(feed: &mut Feed) -> Vec<u8> {
    let mut stream = Vec::new();
    while !feed.0.is_empty() && stream.len() < 4096 {
        let tags = b"ZCDTE123NSAInstHdcKRv";
        let tag = tags[usize::from(feed.byte()) % tags.len()];
        let length = usize::from(feed.byte() % 64);
        let body = feed.take(length);
        let off = if feed.byte() == 0 { u32::from(feed.half()) } else { 0 };
        stream.push(tag);
        stream.extend((body.len() as u32 + 4).wrapping_add(off).to_be_bytes());
        stream.extend(body);
    }
    stream
}
