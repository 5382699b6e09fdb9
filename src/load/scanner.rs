//! Backend messages read by their headers only (PostgreSQL documentation, "Message Formats"): rows, errors and the
//! end of an answer are counted without copying or allocating. Invariant: the result does not depend on where the
//! stream is cut.

/// What an answer has consisted of so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// DataRow messages.
    pub rows: u32,
    /// The body of the first ErrorResponse since the last ReadyForQuery.
    pub error: Option<Vec<u8>>,
    /// What the last ReadyForQuery said: `I` outside a transaction, `T` inside one, `E` inside a failed one.
    pub status: u8,
}

/// Why the stream is not that of an answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the server sent a message of type {0:#04x}, which no answer to a query has")]
    Type(u8),
    #[error("the server sent a message of type {0:#04x} and impossible length {1}")]
    Length(u8, u32),
    #[error("the statement is COPY FROM STDIN, and the load has no data for it")]
    CopyIn,
}

/// Longest message that is believed: PostgreSQL's own limit is 1 GiB.
const LONGEST: u32 = 0x4000_0000;
/// Bytes that are kept of an answer's errors, of as many sessions as there are: what stands behind is no message that
/// anybody reads.
const MOST_KEPT: usize = 1 << 16;
const HEADER: usize = 5;
const READY: u8 = b'Z';

/// A stream's state between two reads.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    header: [u8; HEADER],
    /// Bytes of the header that are there; [`HEADER`] inside a body.
    held: usize,
    /// Bytes of the body that are still to come.
    left: usize,
}

impl Scanner {
    /// Reads `bytes` up to the end of the next ReadyForQuery, and returns how many that took; `None` when all of them
    /// were read and the answer goes on.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], answer: &mut Answer) -> Result<Option<usize>, Unreadable> {
        let mut at = 0;
        if self.held > 0 {
            match self.resume(bytes, answer)? {
                (used, Some(READY)) => return Ok(Some(used)),
                (_, None) => return Ok(None),
                (used, Some(_)) => at = used,
            }
        }
        while let Some(header) = bytes.get(at..at + HEADER) {
            let tag = header[0];
            let body = begin(tag, u32::from_be_bytes([header[1], header[2], header[3], header[4]]), answer)?;
            let end = at + HEADER + body;
            if end > bytes.len() {
                (self.held, self.left) = (HEADER, body);
                self.header.copy_from_slice(header);
                self.take_body(&bytes[at + HEADER..], answer);
                return Ok(None);
            }
            if tag == b'E' {
                keep(answer, &bytes[at + HEADER..end]);
            }
            at = end;
            if tag == READY {
                answer.status = bytes[at - 1];
                return Ok(Some(at));
            }
        }
        let rest = bytes.get(at..).unwrap_or(&[]);
        self.header[..rest.len()].copy_from_slice(rest);
        self.held = rest.len();
        Ok(None)
    }

    /// Goes on with the message that the last read cut. Returns the bytes used, and the message's type if it ended.
    #[cold]
    fn resume(&mut self, bytes: &[u8], answer: &mut Answer) -> Result<(usize, Option<u8>), Unreadable> {
        let mut at = 0;
        if self.held < HEADER {
            at = (HEADER - self.held).min(bytes.len());
            self.header[self.held..self.held + at].copy_from_slice(&bytes[..at]);
            self.held += at;
            if self.held < HEADER {
                return Ok((at, None));
            }
            let [tag, length @ ..] = self.header;
            self.left = begin(tag, u32::from_be_bytes(length), answer)?;
        }
        let taken = self.take_body(&bytes[at..], answer);
        if self.left > 0 {
            return Ok((at + taken, None));
        }
        self.held = 0;
        Ok((at + taken, Some(self.header[0])))
    }

    fn take_body(&mut self, bytes: &[u8], answer: &mut Answer) -> usize {
        let taken = self.left.min(bytes.len());
        if self.header[0] == b'E' {
            keep(answer, &bytes[..taken]);
        }
        if self.header[0] == READY && taken > 0 {
            answer.status = bytes[taken - 1];
        }
        self.left -= taken;
        taken
    }
}

/// Counts a message by its header and returns the length of its body.
#[inline]
fn begin(tag: u8, length: u32, answer: &mut Answer) -> Result<usize, Unreadable> {
    // The status is the one byte of a ReadyForQuery.
    if !(4..LONGEST).contains(&length) || tag == READY && length != 5 {
        return Err(Unreadable::Length(tag, length));
    }
    match tag {
        b'D' => answer.rows += 1,
        b'C' | READY | b'T' | b'1' | b'2' | b'3' | b'E' => {}
        b'N' | b'S' | b'A' | b'I' | b'n' | b's' | b't' | b'H' | b'd' | b'c' | b'K' | b'R' | b'v' => {}
        b'G' | b'W' => return Err(Unreadable::CopyIn),
        _ => return Err(Unreadable::Type(tag)),
    }
    Ok(length as usize - 4)
}

/// Errors are rare: they may allocate. A second one's body follows the first one's terminating zero and is not read.
#[cold]
fn keep(answer: &mut Answer, body: &[u8]) {
    let kept = answer.error.get_or_insert_default();
    kept.extend_from_slice(&body[..body.len().min(MOST_KEPT.saturating_sub(kept.len()))]);
}

/// SQLSTATE and message of an ErrorResponse's body.
pub fn error_fields(body: &[u8]) -> (String, String) {
    let (mut sqlstate, mut message) = (None, None);
    let mut rest = body;
    while let Some((&kind, after)) = rest.split_first().filter(|(kind, _)| **kind != 0) {
        let end = after.iter().position(|b| *b == 0).unwrap_or(after.len());
        let value = || String::from_utf8_lossy(&after[..end]).into_owned();
        match kind {
            b'C' => sqlstate = Some(value()),
            b'M' => message = Some(value()),
            _ => {}
        }
        rest = after.get(end + 1..).unwrap_or(&[]);
    }
    (sqlstate.unwrap_or_else(|| "XX000".into()), message.unwrap_or_else(|| "(no message)".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn stream() -> Vec<u8> {
        let error = b"SERROR\0C40001\0Mcould not\0\0";
        [
            message(b'T', b"columns"),
            message(b'D', b"a row"),
            message(b'D', b""),
            message(b'C', b"SELECT 2\0"),
            message(b'Z', b"I"),
            message(b'N', b"a notice"),
            message(b'E', error),
            message(b'Z', b"E"),
        ]
        .concat()
    }

    /// Feeds pieces and returns the answers, each closed by a ReadyForQuery.
    fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Answer> {
        let (mut scanner, mut answer, mut answers) = (Scanner::default(), Answer::default(), Vec::new());
        for mut piece in pieces {
            while let Some(used) = scanner.scan(piece, &mut answer).unwrap() {
                answers.push(std::mem::take(&mut answer));
                piece = &piece[used..];
            }
        }
        answers
    }

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut() {
        let stream = stream();
        let whole = feed([&stream[..]]);
        assert_eq!(whole.len(), 2);
        assert_eq!((whole[0].rows, &whole[0].error), (2, &None));
        assert_eq!((whole[0].status, whole[1].status), (b'I', b'E'));
        assert_eq!(error_fields(whole[1].error.as_ref().unwrap()), ("40001".into(), "could not".into()));
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(feed(pieces), whole, "cut at {first} and {second}");
            }
        }
        assert_eq!(feed(stream.chunks(1)), whole);
    }

    #[test]
    fn what_no_server_answers_is_unreadable() {
        let mut answer = Answer::default();
        assert_eq!(Scanner::default().scan(b"HTTP/1.1", &mut answer), Err(Unreadable::Length(b'H', 0x5454_502f)));
        assert_eq!(Scanner::default().scan(b"?\0\0\0\x04", &mut answer), Err(Unreadable::Type(b'?')));
        assert_eq!(Scanner::default().scan(b"D\0\0\0\x03", &mut answer), Err(Unreadable::Length(b'D', 3)));
        assert_eq!(Scanner::default().scan(b"G\0\0\0\x04", &mut answer), Err(Unreadable::CopyIn));
        for length in [4, 6] {
            let unread = Scanner::default().scan(&[b'Z', 0, 0, 0, length, b'I', b'I'], &mut answer);
            assert_eq!(unread, Err(Unreadable::Length(b'Z', length.into())), "a status is one byte");
        }
    }

    #[test]
    fn a_hostile_servers_error_is_kept_up_to_a_bound_wherever_it_is_cut() {
        let stream = [message(b'E', &[b'x'; 3 * MOST_KEPT]), message(b'Z', b"I")].concat();
        for size in [1000, stream.len()] {
            let answers = feed(stream.chunks(size));
            assert_eq!(answers[0].error.as_ref().map(Vec::len), Some(MOST_KEPT), "pieces of {size}");
        }
    }

    #[test]
    fn a_damaged_error_still_has_a_state_and_a_message() {
        assert_eq!(error_fields(b"C4"), ("4".into(), "(no message)".into()));
        assert_eq!(error_fields(b""), ("XX000".into(), "(no message)".into()));
    }
}
