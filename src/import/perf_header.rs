//! What stands before the samples in the text of `perf script --header`. Invariant: nothing of a header is taken for
//! a sample, whatever the recorded command holds, which perf prints as it was given, with its line breaks.

use super::lines::next_line;
use anyhow::{Result, bail};
use std::io::BufRead;

/// Line before and behind the header; behind the latter follows a line `#`.
pub(super) const BAR: &str = "# ========";

/// Passes over the header where there is one; its number of lines, and what was read beyond them.
///
/// # Errors
/// The reader's; the header does not end.
pub(super) fn pass_header(text: &mut impl BufRead) -> Result<(u64, Vec<u8>)> {
    let mut line = Vec::new();
    if !next_line(text, &mut line)? {
        return Ok((0, Vec::new()));
    }
    if line != BAR.as_bytes() {
        line.push(b'\n');
        return Ok((0, line));
    }
    let (mut number, mut behind_bar) = (1, false);
    while next_line(text, &mut line)? {
        // A bar alone is a comment.
        if number == 1 && !line.starts_with(b"#") {
            line.push(b'\n');
            return Ok((number, line));
        }
        number += 1;
        if behind_bar && line == b"#" {
            return Ok((number, Vec::new()));
        }
        behind_bar = line == BAR.as_bytes();
    }
    bail!("its header does not end with the lines `{BAR}` and `#`: is it cut short? Print it without --header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_the_command_whatever_it_is() {
        let command = "sh -c a\n\nsrv 1/2 1.0: 5 cycles:\n# ========\nb\n";
        let text = format!("{BAR}\n# cmdline : {command}\n{BAR}\r\n#\nsrv 1/2 1.0: 5 x:\n");
        let mut rest = text.as_bytes();
        assert_eq!(pass_header(&mut rest).unwrap(), (9, Vec::new()));
        assert_eq!(rest, b"srv 1/2 1.0: 5 x:\n");
        assert_eq!(pass_header(&mut rest).unwrap(), (0, b"srv 1/2 1.0: 5 x:\n".to_vec()));
        assert!(pass_header(&mut format!("{BAR}\n# cmdline : {command}").as_bytes()).is_err());
    }
}
