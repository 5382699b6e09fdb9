//! A sound ELF file with fuzzed call-frame information: raw bytes in both sections, or sound frames with fuzzed
//! programs, with or without a sound search table. Invariant: as for `elf`, and the file is always taken for one.
#![no_main]

use wireprof_fuzz::feed::{Feed, frames};
use wireprof_fuzz::hold;
use wireprof_fuzz::template::executable;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut feed = Feed(bytes);
    let file = match feed.byte() & 3 {
        0 => {
            let length = usize::from(feed.half());
            let header = feed.take(length);
            executable(header, feed.0)
        }
        1 => executable(&[], &frames(&mut feed).bytes),
        2 => {
            // A sound search table with a few bytes changed.
            let edits: Vec<_> = (0..feed.byte() & 7).map(|_| (usize::from(feed.half()), feed.byte())).collect();
            let made = frames(&mut feed);
            let mut header = made.header();
            for (at, byte) in edits {
                let length = header.len();
                header[at % length] = byte;
            }
            executable(&header, &made.bytes)
        }
        _ => {
            let made = frames(&mut feed);
            executable(&made.header(), &made.bytes)
        }
    };
    assert!(hold::image(&file));
});
