//! Names of PLT stubs: a stub jumps through a slot, and the relocation of that slot names the function.

use super::source::Elf;
use object::elf::EM_X86_64;
use object::{Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, RelocationTarget};
use std::collections::HashMap;

/// A stub's address, its end and `NAME@plt`.
pub(super) struct Stub {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) name: String,
}

/// Bytes of `jmp *slot(%rip)`, before its 32-bit displacement.
const JUMP: [u8; 2] = [0xff, 0x25];
/// `endbr64`, with which stubs begin where control-flow protection is on.
const LANDING: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// All stubs of an x86-64 file; other machines' stubs stay without names.
pub(super) fn find(elf: &Elf<'_>) -> Vec<Stub> {
    if elf.elf_header().e_machine.get(object::LittleEndian) != EM_X86_64 {
        return Vec::new();
    }
    let sections: Vec<_> =
        [".plt", ".plt.sec", ".plt.got"].into_iter().filter_map(|name| elf.section_by_name(name)).collect();
    if sections.is_empty() {
        return Vec::new();
    }
    let slots = slots(elf);
    let mut stubs = Vec::new();
    for section in sections {
        let (Ok(code), base) = (section.data(), section.address()) else { continue };
        let narrow = section.name() == Ok(".plt.got") && !code.starts_with(&LANDING);
        let step = if narrow { 8 } else { 16 };
        for (index, stub) in code.chunks_exact(step).enumerate() {
            let start = base.wrapping_add((index * step) as u64);
            if let Some(name) = target(stub, start).and_then(|slot| slots.get(&slot)) {
                stubs.push(Stub { start, end: start.wrapping_add(step as u64), name: format!("{name}@plt") });
            }
        }
    }
    stubs
}

/// The slot that a stub at `start` jumps through.
fn target(stub: &[u8], start: u64) -> Option<u64> {
    let jump = stub.windows(2).position(|pair| pair == JUMP)?;
    let displacement = i32::from_le_bytes(stub.get(jump + 2..jump + 6)?.try_into().ok()?);
    Some(start.wrapping_add(jump as u64 + 6).wrapping_add_signed(i64::from(displacement)))
}

/// Functions by the address of the slot that holds their address.
fn slots<'a>(elf: &Elf<'a>) -> HashMap<u64, &'a str> {
    let (Some(relocations), Some(symbols)) = (elf.dynamic_relocations(), elf.dynamic_symbol_table()) else {
        return HashMap::new();
    };
    relocations
        .filter_map(|(slot, relocation)| {
            let RelocationTarget::Symbol(index) = relocation.target() else { return None };
            let name = symbols.symbol_by_index(index).ok()?.name().ok()?;
            (!name.is_empty()).then_some((slot, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_stub_jumps_through_the_slot_after_its_end_plus_the_displacement() {
        let with_landing = [0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 0x10, 0, 0, 0, 0x66, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(target(&with_landing, 0x1000), Some(0x1000 + 10 + 0x10));
        assert_eq!(target(&[0xff, 0x25, 0xf0, 0xff, 0xff, 0xff, 0x66, 0x90], 0x1000), Some(0x1000 + 6 - 0x10));
        assert_eq!(target(&[0x90; 16], 0x1000), None);
        assert_eq!(target(&[0xff, 0x25, 0x10], 0x1000), None);
    }
}
