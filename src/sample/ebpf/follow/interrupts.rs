//! Where the kernel's own code for interrupts begins, from `/proc/kallsyms`. Invariant: faults and system calls of a
//! thread are no interrupts: what it does in them it does for itself.

use std::io::{BufRead, BufReader};
use std::path::Path;

/// Addresses of the entries of interrupts (arch/x86/include/asm/idtentry.h: `asm_common_interrupt`, `asm_sysvec_…`):
/// from, to. `None`: the kernel hides them.
pub fn entries(kallsyms: &Path) -> Option<(u64, u64)> {
    let lines = BufReader::new(std::fs::File::open(kallsyms).ok()?).lines();
    let mut found: Option<(u64, u64)> = None;
    for line in lines.map_while(Result::ok).filter(|line| line.contains(" asm_")) {
        let mut fields = line.split_whitespace();
        let (Some(address), Some(name)) = (fields.next(), fields.nth(1)) else { continue };
        if name != "asm_common_interrupt" && !name.starts_with("asm_sysvec_") {
            continue;
        }
        let Some(address) = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0) else { continue };
        // An entry takes some 32 bytes, and they lie side by side.
        let (start, end) = found.unwrap_or((address, address));
        found = Some((start.min(address), end.max(address + 32)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn entries_of_interrupts_are_between_the_first_and_the_last_and_hidden_ones_are_none() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "ffffffff81000c60 T asm_exc_page_fault\nffffffff81000d40 T asm_common_interrupt\n\
             ffffffff81000df0 T asm_sysvec_apic_timer_interrupt\nffffffff81001270 T asm_load_gs_index\n"
        )
        .unwrap();
        assert_eq!(entries(file.path()), Some((0xffff_ffff_8100_0d40, 0xffff_ffff_8100_0e10)));
        let mut hidden = tempfile::NamedTempFile::new().unwrap();
        writeln!(hidden, "0000000000000000 T asm_common_interrupt").unwrap();
        assert_eq!(entries(hidden.path()), None);
    }
}
