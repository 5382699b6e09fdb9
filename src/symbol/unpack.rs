//! Compressed sections, unpacked. Invariant: a large one never lies in memory as a whole: it is written to a file
//! part by part and mapped; sizes that a section claims for itself are not believed; a file that was kept is used
//! only whole and unchanged.

use super::map::Bytes;
use crate::cachedir::CacheDir;
use crate::mapped;
use object::{CompressedData, CompressionFormat};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// A section may claim to unpack to this many times its size, and no more: deflate's limit is 1,032 ...
const LARGEST_RATIO: u64 = 1_100;
/// ... and a block of zstd has up to 128 kB in 4 bytes.
const LARGEST_RATIO_ZSTD: u64 = 32 << 10;
/// Sections that unpack to less than this (bytes) are unpacked into memory.
const LARGE: u64 = 16 << 20;
/// Bytes of a part.
const PART: usize = 1 << 20;
/// After so many parts the pages of the compressed section that were read are given back.
const PARTS_HELD: u64 = 32;
/// Largest window (bytes) that a zstd section may ask for: what its most thorough levels use. It is memory.
const LARGEST_WINDOW: u64 = 128 << 20;

/// A section larger than this part of what all kept files may take is not kept: it would displace all that is used
/// more often.
const LARGEST_SHARE: u64 = 2;

/// Ends a kept section: mark, length (u64), CRC-32 of the contents (u32), zeros (u32); little-endian.
const MARK: &[u8; 8] = b"wpsect\x00\x01";
const TRAILER: usize = 24;

/// Unpacks a section of `file`. A large one lies in `kept` under its name if there is one, else in a file without a
/// name.
///
/// # Errors
/// Damage, in words.
pub(super) fn unpack(
    data: CompressedData<'_>,
    file: &Bytes,
    kept: Option<(&CacheDir, String)>,
) -> Result<Bytes, String> {
    let largest = if data.format == CompressionFormat::Zstandard { LARGEST_RATIO_ZSTD } else { LARGEST_RATIO };
    if data.uncompressed_size / largest > data.data.len() as u64 {
        return Err(format!("claims {} bytes in {} compressed ones", data.uncompressed_size, data.data.len()));
    }
    if data.uncompressed_size >= LARGE {
        if let Some(bytes) = kept.as_ref().and_then(|(directory, key)| find(directory, key, data.uncompressed_size)) {
            return Ok(bytes);
        }
        // A full disk, or damage: unpacking in memory tells which.
        let fits = |directory: &CacheDir| data.uncompressed_size <= directory.most_bytes() / LARGEST_SHARE;
        let written = match &kept {
            Some((directory, key)) if fits(directory) => {
                into_cache(&data, file, directory, key).or_else(|_| into_nameless(&data, file))
            }
            _ => into_nameless(&data, file),
        };
        if let Ok(bytes) = written {
            return Ok(bytes);
        }
    }
    Ok(Bytes::Owned(data.decompress().map_err(|error| error.to_string())?.into_owned().into_boxed_slice()))
}

/// The name to keep a section under: that of its file and its own, and what tells it from one of another file with
/// the same build-id (a file and its debug file have the same).
pub(super) fn key(build_id: &str, section: &str, data: &CompressedData<'_>) -> String {
    const LOOKED_AT: usize = 4096;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&data.data[..data.data.len().min(LOOKED_AT)]);
    crc.update(&data.data[data.data.len().saturating_sub(LOOKED_AT)..]);
    format!("{build_id}{section}-{:x}-{:x}-{:08x}", data.data.len(), data.uncompressed_size, crc.finalize())
}

/// A section that was kept, after reading all of it once: damage must not become names.
fn find(directory: &CacheDir, key: &str, length: u64) -> Option<Bytes> {
    let mut file = directory.open(key)?;
    if file.metadata().ok()?.len() != length + TRAILER as u64 {
        return None;
    }
    let (crc, copied) = copy(&mut (&mut file).take(length), &mut io::sink(), || ()).ok()?;
    let mut trailer = [0; TRAILER];
    file.read_exact(&mut trailer).ok()?;
    (copied == length && trailer == trailer_of(length, crc)).then_some(())?;
    Some(mapped::map(&file).ok()?.into())
}

fn into_cache(data: &CompressedData<'_>, file: &Bytes, directory: &CacheDir, key: &str) -> io::Result<Bytes> {
    let mut unpacked = directory.begin(data.uncompressed_size + TRAILER as u64)?;
    write(data, file, unpacked.as_file_mut())?;
    Ok(mapped::map(&directory.finish(unpacked, key)?)?.into())
}

fn into_nameless(data: &CompressedData<'_>, file: &Bytes) -> io::Result<Bytes> {
    // Where large files belong: `/tmp` may lie in memory.
    let directory = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
    let mut unpacked = tempfile::tempfile_in(Path::new(&directory))?;
    write(data, file, &mut unpacked)?;
    Ok(mapped::map(&unpacked)?.into())
}

fn write(data: &CompressedData<'_>, file: &Bytes, unpacked: &mut File) -> io::Result<()> {
    let length = data.uncompressed_size;
    let (crc, copied) = copy(&mut decoder(data)?.take(length), unpacked, || file.release())?;
    if copied != length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to less than it claims"));
    }
    unpacked.write_all(&trailer_of(length, crc))?;
    unpacked.rewind()
}

fn decoder<'a>(data: &CompressedData<'a>) -> io::Result<Box<dyn Read + 'a>> {
    match data.format {
        CompressionFormat::Zlib => Ok(Box::new(flate2::read::ZlibDecoder::new(data.data))),
        CompressionFormat::Zstandard => {
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(data.data, LARGEST_WINDOW);
            Ok(Box::new(decoder.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Copies everything, part by part; returns the CRC-32 and the length. `release` is called now and then.
fn copy(from: &mut impl Read, to: &mut impl Write, release: impl Fn()) -> io::Result<(u32, u64)> {
    let mut crc = crc32fast::Hasher::new();
    let mut part = vec![0; PART];
    let (mut copied, mut released) = (0, 0);
    loop {
        let read = match from.read(&mut part) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        crc.update(&part[..read]);
        to.write_all(&part[..read])?;
        copied += read as u64;
        if copied / (PARTS_HELD * PART as u64) > released {
            released = copied / (PARTS_HELD * PART as u64);
            release();
        }
    }
    release();
    Ok((crc.finalize(), copied))
}

fn trailer_of(length: u64, crc: u32) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..8].copy_from_slice(MARK);
    trailer[8..16].copy_from_slice(&length.to_le_bytes());
    trailer[16..20].copy_from_slice(&crc.to_le_bytes());
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that deflate makes smaller, and that is not the same everywhere.
    fn contents(length: u64) -> Vec<u8> {
        (0..length).map(|at| (at * at / 1_000) as u8).collect()
    }

    fn packed(contents: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn data(packed: &[u8], uncompressed_size: u64) -> CompressedData<'_> {
        CompressedData { format: CompressionFormat::Zlib, data: packed, uncompressed_size }
    }

    fn nothing() -> Bytes {
        Bytes::Owned(Box::new([]))
    }

    #[test]
    fn only_a_large_section_is_written_to_a_file() {
        for (length, mapped) in [(LARGE - 1, false), (LARGE, true)] {
            let whole = contents(length);
            let unpacked = unpack(data(&packed(&whole), length), &nothing(), None).unwrap();
            assert_eq!(matches!(unpacked, Bytes::Mapped(..)), mapped, "{length} bytes");
            assert!(unpacked[..length as usize] == whole, "{length} bytes");
        }
    }

    #[test]
    fn a_kept_section_is_used_and_a_damaged_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let cache = CacheDir::at(root.path(), 1 << 30);
        let whole = contents(LARGE);
        let packed = packed(&whole);
        let unpacked = || unpack(data(&packed, LARGE), &nothing(), Some((&cache, "key".into()))).unwrap();
        assert!(find(&cache, "key", LARGE).is_none());
        assert!(unpacked()[..LARGE as usize] == whole);
        assert!(find(&cache, "key", LARGE).unwrap()[..LARGE as usize] == whole);
        assert!(find(&cache, "key", LARGE - 1).is_none(), "of another size");
        for at in [0, LARGE as usize / 2, LARGE as usize + 3, LARGE as usize + TRAILER - 1] {
            let mut damaged = std::fs::read(root.path().join("key")).unwrap();
            damaged[at] ^= 1;
            cache.keep("key", &damaged).unwrap();
            assert!(find(&cache, "key", LARGE).is_none(), "byte {at}");
            assert!(unpacked()[..LARGE as usize] == whole, "byte {at}");
        }
    }

    #[test]
    fn a_section_that_claims_more_than_it_unpacks_to_is_damaged() {
        let packed = packed(&contents(LARGE));
        assert!(unpack(data(&packed, LARGE + 1), &nothing(), None).is_err());
        let absurd = packed.len() as u64 * (LARGEST_RATIO + 1);
        assert!(unpack(data(&packed, absurd), &nothing(), None).err().unwrap().starts_with("claims"));
    }

    #[test]
    fn sections_of_other_files_have_other_names() {
        let (first, second) = (packed(&contents(10_000)), packed(&contents(10_001)));
        let name = |packed, size| key("ab12", ".debug_info", &data(packed, size));
        assert_ne!(name(&first, 10_000), name(&second, 10_001));
        assert!(name(&first, 10_000).starts_with("ab12.debug_info-"));
    }
}
