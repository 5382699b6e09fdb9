//! Lines of a text of any size. Invariant: a line is read whole or it is an error; nothing is cut.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, Read};

/// Longest line in bytes: names of Rust functions have kilobytes, and stacks hundreds of them.
const LONGEST: u64 = 1 << 26;

/// Reads the next line into `line`, without its end; `false`: there is none.
///
/// # Errors
/// The reader's; a line that is no line of text.
pub(super) fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let read =
        reader.take(LONGEST).read_until(b'\n', line).context("it cannot be read on: is it damaged or cut short?")?;
    if read as u64 == LONGEST && !line.ends_with(b"\n") {
        bail!("a line of more than {LONGEST} bytes: that is no text of stacks");
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_one_without_an_end_is_refused() {
        let (mut text, mut line) = (&b"a\r\n\nb"[..], Vec::new());
        let mut lines = Vec::new();
        while next_line(&mut text, &mut line).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["a", "", "b"]);
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let error = next_line(&mut { endless }, &mut line).unwrap_err();
        assert!(error.to_string().contains("a line of more than 67108864 bytes"), "{error}");
    }
}
