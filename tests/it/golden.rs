//! Texts for people, whole, one file each in tests/golden. Invariant: a test compares a text in full with its file;
//! with `BLESS=1 cargo test --test it` the files are written anew, and `git diff tests/golden` shows what readers will
//! see.

use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The text is that of the golden file.
pub fn assert(name: &str, text: &str) {
    let path = directory().join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let remedy = "if the new text is what readers should see: BLESS=1 cargo test --test it";
    assert!(text == wanted, "not as in {}\n--- wanted\n{wanted}\n--- found\n{text}\n{remedy}", path.display());
}

/// A file that no test names any more would be looked after for nothing.
#[test]
fn every_golden_file_is_named_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let sources: String = tests
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for entry in directory().read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".txt").unwrap_or_else(|| panic!("{name} is no .txt"));
        let named = stem.strip_prefix("guard-").unwrap_or(stem);
        assert!(sources.contains(&format!("\"{named}")), "no test names {name}: remove it");
    }
}
