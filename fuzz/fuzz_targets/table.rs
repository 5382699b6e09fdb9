//! Kept tables: arbitrary bytes, and sound ones with changes, with a checksum that is right. Invariant: what is taken
//! leads nowhere outside of itself, neither in our own search nor in the kernel program's.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};
use wireprof_fuzz::elf::Image;
use wireprof_fuzz::feed::{Feed, frames};
use wireprof_fuzz::hold;
use wireprof_fuzz::sample::unwind::{Rules, Table};
use wireprof_fuzz::template::executable;

const HEADER: usize = 64;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // A common part without further instructions; then functions of 120 bytes with three rows each.
    let function = |at: u8| [1, 120, 8, 0x44, 0x0e, 16, 0x86, 2, 0x48, 0x0e, at];
    let input: Vec<u8> = [0, 0].into_iter().chain((8..96).flat_map(function)).collect();
    let made = frames(&mut Feed(&input));
    let image = Image::from_bytes(Arc::new(executable(&made.header(), &made.bytes)), Path::new("sound")).unwrap();
    let table = Table::build(&Rules::new(image));
    let sizes = (table.pages(), table.rows(), table.rules());
    assert!(sizes.0 > 1 && sizes.1 > 50 && sizes.2 > 5, "{sizes:?}");
    table.bytes().to_vec()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut feed = Feed(bytes);
    let what = feed.byte();
    let mut stored = if what & 1 == 0 { feed.0.to_vec() } else { changed(&mut feed) };
    if what & 2 != 0 && stored.len() >= HEADER {
        seal(&mut stored);
    }
    if let Some(table) = Table::from_bytes(Arc::new(stored)) {
        hold::table(&table);
    }
});

fn changed(feed: &mut Feed) -> Vec<u8> {
    let mut stored = SOUND.clone();
    while !feed.0.is_empty() {
        let at = usize::from(feed.half()) % stored.len();
        match feed.byte() & 3 {
            0 => stored[at] = feed.byte(),
            1 => stored[at] ^= 1 << (feed.byte() & 7),
            // The counts of the header.
            2 => stored[16 + at % 40] = feed.byte(),
            _ => stored.truncate(at.max(HEADER)),
        }
    }
    stored
}

/// Makes the first words those of a table of this version, and the checksum right.
fn seal(stored: &mut [u8]) {
    stored[..16].copy_from_slice(&SOUND[..16]);
    let mut hash = crc32fast::Hasher::new();
    hash.update(&stored[..HEADER - 8]);
    hash.update(&stored[HEADER..]);
    stored[HEADER - 8..HEADER].copy_from_slice(&u64::from(hash.finalize()).to_le_bytes());
}
