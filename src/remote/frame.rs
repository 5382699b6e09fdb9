//! Messages on a stream of bytes: two lengths (u32, little-endian), a message in JSON, and bytes that belong to it.
//! Invariant: no more memory is taken than bytes have come, whatever the lengths say.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Read, Write};

/// Bytes of a message at most.
const MESSAGE: u32 = 64 << 20;
/// Bytes that belong to a message at most: a file of a window.
const PAYLOAD: u32 = 1 << 30;

/// One message with what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<M> {
    /// The message.
    pub message: M,
    /// What belongs to it; mostly nothing.
    pub payload: Vec<u8>,
}

/// Writes one frame, and sees it off.
///
/// # Errors
/// The stream's, and what is larger than a frame may be.
pub fn write_frame(out: &mut impl Write, message: &impl Serialize, payload: &[u8]) -> Result<()> {
    let text = serde_json::to_vec(message)?;
    ensure!(text.len() <= MESSAGE as usize && payload.len() <= PAYLOAD as usize, "a message is too large to be sent");
    let mut head = Vec::with_capacity(8 + text.len());
    head.extend((text.len() as u32).to_le_bytes());
    head.extend((payload.len() as u32).to_le_bytes());
    head.extend(text);
    out.write_all(&head)?;
    out.write_all(payload)?;
    Ok(out.flush()?)
}

/// Reads one frame; `None`: the stream ended between two of them.
///
/// # Errors
/// A stream that breaks off inside a frame, or holds something else.
pub fn read_frame<M: DeserializeOwned>(input: &mut impl Read) -> Result<Option<Frame<M>>> {
    let mut head = [0; 8];
    match input.read(&mut head[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => return read_frame(input),
        Err(error) => return Err(error.into()),
    }
    input.read_exact(&mut head[1..]).context("the link broke off inside a message")?;
    let length = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (message, payload) = (length(0), length(4));
    if message > MESSAGE || payload > PAYLOAD {
        bail!("what comes over the link is no message of wireprof's");
    }
    let text = exactly(input, message)?;
    let message = serde_json::from_slice(&text).context("a message over the link cannot be read")?;
    Ok(Some(Frame { message, payload: exactly(input, payload)? }))
}

fn exactly(input: &mut impl Read, length: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length.into()).read_to_end(&mut bytes)?;
    ensure!(bytes.len() == length as usize, "the link broke off inside a message");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_one_after_the_other() {
        let mut stream = Vec::new();
        write_frame(&mut stream, &"one", b"").unwrap();
        write_frame(&mut stream, &"two", &[7; 100_000]).unwrap();
        let mut input = stream.as_slice();
        assert_eq!(
            read_frame::<String>(&mut input).unwrap().unwrap(),
            Frame { message: "one".into(), payload: vec![] }
        );
        assert_eq!(read_frame::<String>(&mut input).unwrap().unwrap().payload, vec![7; 100_000]);
        assert!(read_frame::<String>(&mut input).unwrap().is_none());
    }

    #[test]
    fn what_breaks_off_or_is_no_frame_is_an_error_and_takes_no_memory_for_what_it_claims() {
        let mut whole = Vec::new();
        write_frame(&mut whole, &"one", b"payload").unwrap();
        for length in 1..whole.len() {
            assert!(read_frame::<String>(&mut &whole[..length]).is_err(), "{length} bytes");
        }
        assert!(read_frame::<String>(&mut &b"HTTP/1.1 200 OK\r\n"[..]).is_err());
        assert!(read_frame::<u8>(&mut whole.as_slice()).is_err(), "another message");
        // A gigabyte is claimed, and three bytes come.
        let claim = [4_u32.to_le_bytes(), PAYLOAD.to_le_bytes()].concat();
        assert!(read_frame::<bool>(&mut &[claim, b"true123".to_vec()].concat()[..]).is_err());
    }
}
