//! Files as they come: packed or not, from a pipe or a disk. Invariant: what a file is packed in is told by its first
//! bytes and not by its name; it is unpacked whole, with all members of a gzip file, or refused by the packing's
//! name.

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Cursor, Read};

const BUFFER: usize = 1 << 18;

/// Ways of packing that are not read: first bytes, name, what unpacks it.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -d"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -d"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4", "lz4 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (&[0x1f, 0x9d], "compress", "uncompress"),
];

/// An unpacked file.
pub(super) struct Unpacked {
    pub reader: Box<dyn BufRead>,
    /// Whether it was packed.
    pub packed: bool,
}

/// Unpacks what `file` holds.
///
/// # Errors
/// It cannot be read; it is packed in a way that is not read, or twice.
pub(super) fn unpacked(file: impl Read + 'static) -> Result<Unpacked> {
    let (start, file) = started(file).context("it cannot be read")?;
    let reader = BufReader::with_capacity(BUFFER, file);
    if !is_gzip(&start) {
        refuse(&start, "")?;
        return Ok(Unpacked { reader: Box::new(reader), packed: false });
    }
    let (start, plain) = started(MultiGzDecoder::new(reader)).context("its gzip stream is damaged")?;
    if is_gzip(&start) {
        bail!("it is packed with gzip twice: unpack it with `gzip -d` and give what comes out");
    }
    refuse(&start, ", within gzip")?;
    Ok(Unpacked { reader: Box::new(BufReader::with_capacity(BUFFER, plain)), packed: true })
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// The first bytes, and all of them once more.
fn started<R: Read>(mut reader: R) -> std::io::Result<(Vec<u8>, impl Read)> {
    let mut start = Vec::new();
    reader.by_ref().take(8).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

fn refuse(start: &[u8], within: &str) -> Result<()> {
    match OTHERS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        Some((_, name, tool)) => {
            bail!("it is packed with {name}{within}, which is not read: unpack it (`{tool}`), or pack it with gzip")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn text(bytes: Vec<u8>) -> Result<String> {
        let mut text = String::new();
        unpacked(Cursor::new(bytes))?.reader.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn all_members_are_read_and_what_is_not_packed_is_left_as_it_is() {
        assert_eq!(text([zipped(b"one "), zipped(b""), zipped(b"two")].concat()).unwrap(), "one two");
        assert_eq!(text(b"plain".to_vec()).unwrap(), "plain");
        assert_eq!(text(Vec::new()).unwrap(), "");
        assert!(text(zipped(&[b'x'; 1000])[..12].to_vec()).is_err(), "cut short");
    }

    #[test]
    fn what_is_packed_otherwise_is_named() {
        let error = |bytes: Vec<u8>| text(bytes).unwrap_err().to_string();
        let zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0];
        assert!(error(zstd.clone()).contains("packed with zstd, which is not read: unpack it (`zstd -d`)"));
        assert!(error(zipped(&zstd)).contains("packed with zstd, within gzip"));
        assert!(error(b"\xfd7zXZ\0".to_vec()).contains("xz"));
        assert!(error(zipped(&zipped(b"x"))).contains("gzip twice"));
    }
}
