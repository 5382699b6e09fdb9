//! The vdso: the piece of kernel code that is mapped into every process. All processes of one kernel and word size
//! have the same image, so our own copy serves for the target's.

use super::Image;
use std::path::Path;
use std::sync::Arc;

/// The vdso's image, copied once (some 8 kB); `None` where the kernel maps none.
pub fn vdso() -> Option<Image> {
    // SAFETY: getauxval has no preconditions.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    let (_, end) = own_mapping(start)?;
    // SAFETY: `start..end` is a readable mapping of our own process, as /proc/self/maps has just said, and the
    // vdso is never unmapped during a process's life.
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) }.to_vec();
    Image::from_bytes(Arc::new(bytes), Path::new("[vdso]")).ok()
}

fn own_mapping(start: usize) -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (from, rest) = line.split_once('-')?;
        let (to, _) = rest.split_once(' ')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        (from == start && start != 0).then_some((from, usize::from_str_radix(to, 16).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSymbol};

    #[test]
    fn the_vdso_names_its_clock() {
        let image = super::vdso().expect("this kernel maps a vdso");
        let elf = image.elf().unwrap();
        assert!(elf.dynamic_symbols().any(|s| s.name() == Ok("__vdso_clock_gettime")));
    }
}
