//! The vdso's image. The kernel maps the same pages into every process of one architecture, so our own serves for all.

use super::locate::{Located, Place};
use super::map::Bytes;

/// This process's vdso as a module's file.
pub(super) fn located() -> Option<Located> {
    Some(Located { bytes: image()?, place: Place { path: "[vdso]".into(), roots: Vec::new() } })
}

/// A copy of this process's vdso (`getauxval(AT_SYSINFO_EHDR)`), or `None` where the kernel maps none.
fn image() -> Option<Bytes> {
    // SAFETY: getauxval only reads the process's own auxiliary vector and accepts any key.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let length = length(&std::fs::read_to_string("/proc/self/maps").ok()?, start)?;
    // SAFETY: the kernel's list of mappings, read just now, says that `[start, start + length)` is the vdso, which is
    // readable, never written and never unmapped while the process runs (nothing here calls munmap or mremap on it).
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, length) };
    Some(Bytes::Owned(bytes.into()))
}

/// Length in bytes of the mapping `[vdso]` that begins at `start`.
fn length(maps: &str, start: u64) -> Option<usize> {
    maps.lines().filter(|line| line.ends_with("[vdso]")).find_map(|line| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok().filter(|&from| from == start && from != 0)?;
        usize::try_from(u64::from_str_radix(to, 16).ok()?.checked_sub(from)?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_mapping_which_begins_at_the_vdso() {
        let maps = "1000-2000 r-xp 0 0:0 0 /bin/x\n7000-9000 r-xp 00000000 00:00 0    [vdso]\n";
        assert_eq!(length(maps, 0x7000), Some(0x2000));
        assert_eq!(length(maps, 0x1000), None);
        assert_eq!(length("0-9000 r-xp 0 0:0 0 [vdso]\n", 0), None);
    }

    #[test]
    fn our_own_vdso_is_an_elf_image() {
        match image() {
            Some(bytes) => assert_eq!(&bytes[..4], b"\x7fELF"),
            None => println!("skipped: this kernel maps no vdso"),
        }
    }
}
