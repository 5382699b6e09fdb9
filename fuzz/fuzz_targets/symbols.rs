//! Arbitrary bytes as a file whose functions are looked up. Invariant: every address has a frame, whatever the file
//! says.
#![no_main]

use std::io::{Seek, Write};
use std::sync::{LazyLock, Mutex};
use wireprof_fuzz::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof_fuzz::symbol::{Options, Symbolizer};

/// One file in memory, written anew for each input.
static FILE: LazyLock<Mutex<tempfile::NamedTempFile>> = LazyLock::new(|| {
    let memory = std::path::Path::new("/dev/shm");
    let file = if memory.is_dir() { tempfile::NamedTempFile::new_in(memory) } else { tempfile::NamedTempFile::new() };
    Mutex::new(file.expect("a file for the input"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = FILE.lock().unwrap();
    file.as_file().set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(bytes).unwrap();
    let (kind, path) = (ModuleKind::File, file.path().to_path_buf());
    let module = Module { kind, path, pid: 0, mapping: (0, 0), inode: 0, deleted: false, build_id: None };
    let addresses: Vec<_> = (0..24).map(|at| Address { module: Some(ModuleId(0)), at: 0xff0 + at * 0x10 }).collect();
    let mut symbolizer = Symbolizer::new(Options { debug_roots: Vec::new(), threads: 1, ..Options::default() });
    let found = symbolizer.resolve(&[module], &addresses);
    assert!(found.len() == addresses.len() && found.iter().all(|symbols| !symbols.is_empty()));
});
