//! The vdso: the piece of kernel code that is mapped into every process. All processes of one kernel and word size
//! have the same image, so our own copy serves for the target's.

use super::Image;
use std::path::Path;
use std::sync::Arc;

/// The vdso's image, a copy of some 8 kB; `None` where the kernel maps none.
pub fn vdso() -> Option<Image> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let (start, end) = String::from_utf8_lossy(&maps).lines().find_map(range)?;
    // SAFETY: `start..end` is a readable mapping of our own process, as the kernel has just said; it is never written,
    // and never unmapped while the process runs (nothing here calls munmap or mremap on it).
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) }.to_vec();
    Image::from_bytes(Arc::new(bytes), Path::new("[vdso]")).ok()
}

/// The addresses of the vdso, where this line of `/proc/PID/maps` (proc(5)) is its. Other lines are not looked into:
/// what else is mapped, and under which names, must not cost the vdso.
fn range(line: &str) -> Option<(usize, usize)> {
    let addresses = line.strip_suffix(" [vdso]")?.split(' ').next()?;
    let (start, end) = addresses.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSymbol};

    #[test]
    fn its_addresses_are_those_of_the_line_that_ends_with_its_name() {
        let line = "7000-9000 r-xp 00000000 00:00 0                          [vdso]";
        assert_eq!(super::range(line), Some((0x7000, 0x9000)));
        assert_eq!(super::range("1000-2000 r-xp 00000000 08:01 7    /bin/[vdso]"), None);
        assert_eq!(super::range("1000-2000 r--p 00000000 00:00 0    [vvar]"), None);
    }

    #[test]
    fn the_vdso_names_its_clock() {
        let image = super::vdso().expect("this kernel maps a vdso");
        let elf = image.elf().unwrap();
        assert!(elf.dynamic_symbols().any(|s| s.name() == Ok("__vdso_clock_gettime")));
    }
}
