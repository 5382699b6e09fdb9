//! The vdso: the piece of kernel code that is mapped into every process. All processes of one kernel and word size
//! have the same image, so our own copy serves for the target's.

use super::Image;
use procfs::FromRead;
use procfs::process::{MMapPath, MemoryMaps};
use std::path::Path;
use std::sync::Arc;

/// The vdso's image, a copy of some 8 kB; `None` where the kernel maps none.
pub fn vdso() -> Option<Image> {
    let maps = MemoryMaps::from_file("/proc/self/maps").ok()?;
    let (start, end) = maps.into_iter().find(|map| map.pathname == MMapPath::Vdso)?.address;
    // SAFETY: `start..end` is a readable mapping of our own process, as the kernel has just said; it is never written, and
    // never unmapped while the process runs (nothing here calls munmap or mremap on it).
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, usize::try_from(end - start).ok()?) }.to_vec();
    Image::from_bytes(Arc::new(bytes), Path::new("[vdso]")).ok()
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
