//! Files of a workload as text. Invariant: text is UTF-8, with or without a byte-order mark; everything else is refused
//! by its name.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Reads a text file; a byte-order mark is left out.
///
/// # Errors
/// The file cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    decode(std::fs::read(path)?)
}

pub(super) fn decode(bytes: Vec<u8>) -> Result<String> {
    let other =
        |encoding: &str| Error::new(ErrorKind::InvalidData, format!("it is {encoding}, not UTF-8: save it as UTF-8"));
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(other("UTF-16"));
    }
    // Text of ASCII letters in UTF-16 without its mark.
    if bytes.len() > 1 && (bytes[0] == 0) != (bytes[1] == 0) {
        return Err(other("UTF-16"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        other(&format!("in another encoding (line {line})"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_left_out_and_other_encodings_are_refused_by_name() {
        assert_eq!(decode(b"\xef\xbb\xbfselect 1".to_vec()).unwrap(), "select 1");
        let said = |bytes: &[u8]| decode(bytes.to_vec()).unwrap_err().to_string();
        for utf_16 in [b"\xff\xfea\0".as_slice(), b"\xfe\xff\0a", b"a\0b\0", b"\0a\0b"] {
            assert_eq!(said(utf_16), "it is UTF-16, not UTF-8: save it as UTF-8");
        }
        assert!(said(b"a\n\xe9").contains("another encoding (line 2)"));
    }
}
