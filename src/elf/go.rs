//! The table of functions that Go's linker puts into every program, stripped ones too (`.gopclntab`): where each
//! function lies, its name, and how far its stack pointer has moved at each instruction.
//! Source of the layout: Go's `src/runtime/symtab.go` (`pcHeader`, `functab`, `_func`, `step`) and
//! `src/internal/abi/symtab.go`, Go 1.18 and later; earlier ones had another. Invariant: whatever the bytes say,
//! nothing outside of the table is read and functions ascend.

use super::Elf;
use object::read::elf::ProgramHeader;
use object::{Endianness, Object, ObjectSection, ObjectSymbol};
use std::ops::Range;

/// First word of the table: Go 1.18 and 1.19; Go 1.20 and later.
const MAGIC_1_18: u32 = 0xffff_fff0;
const MAGIC_1_20: u32 = 0xffff_fff1;
/// Where the table is: in a program at a fixed address, and in one that can be moved.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Bytes of an entry of the list of functions: start and place of its description, 4 bytes each.
const ENTRY: usize = 8;
/// Bits of a function's flags.
const TOP_FRAME: u8 = 1;
const WRITES_STACK_POINTER: u8 = 2;

/// Where a program's table has what; see the file's head.
#[derive(Clone)]
pub struct GoLayout {
    /// The table's bytes in the file.
    table: Range<usize>,
    /// What the starts of functions are relative to, as the file counts addresses.
    text: u64,
    count: usize,
    names: usize,
    programs: usize,
    functions: usize,
    /// Where in a function's description its flags are.
    flags: usize,
    /// From the first function's start to the last one's end.
    addresses: Range<u64>,
    /// Where in the file the first function's code is.
    code: usize,
}

/// The functions of a program.
#[derive(Clone)]
pub struct GoFunctions<'a> {
    file: &'a [u8],
    layout: GoLayout,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoFunction {
    /// Its addresses, as the file counts them.
    pub addresses: Range<u64>,
    /// It has no caller: a thread's or goroutine's first function.
    pub is_first: bool,
    /// It sets the stack pointer to another stack.
    pub changes_stack: bool,
    name: usize,
    program: usize,
}

impl GoLayout {
    /// Of the program in this file; `None` where it has no such table, or one that is not in order.
    pub fn of(file: &[u8]) -> Option<GoLayout> {
        let elf = Elf::parse(file).ok()?;
        let table = SECTIONS.iter().find_map(|name| {
            let (offset, size) = elf.section_by_name(name)?.file_range()?;
            Some(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?)
        })?;
        let bytes = file.get(table.clone())?;
        let flags = match u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) {
            MAGIC_1_18 => 37,
            MAGIC_1_20 => 41,
            _ => return None,
        };
        // Two zeros, the least length of an instruction, bytes of a pointer.
        (bytes.get(4..8)? == [0, 0, 1, 8]).then_some(())?;
        let word = |number: usize| {
            let at = 8 + number * 8;
            usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
        };
        let (count, text, names, programs, functions) = (word(0)?, word(2)?, word(3)?, word(6)?, word(7)?);
        let end = count.checked_mul(ENTRY)?.checked_add(functions)?.checked_add(4)?;
        (count > 0 && end <= bytes.len() && names <= bytes.len() && programs <= bytes.len()).then_some(())?;
        let text = if text == 0 { start_of_text(&elf)? } else { text as u64 };
        let layout = GoLayout { table, text, count, names, programs, functions, flags, addresses: 0..0, code: 0 };
        let found = layout.over(file);
        let mut before = 0;
        let ascend = (0..=count).all(|number| {
            let start = found.start(number);
            std::mem::replace(&mut before, start) <= start
        });
        let addresses = found.start(0)..found.start(count);
        (ascend && !addresses.is_empty()).then_some(())?;
        let code = place_of(&elf, &addresses).filter(|code| code.end <= file.len())?.start;
        Some(GoLayout { addresses, code, ..found.layout })
    }

    /// The functions, with the bytes of the file that this is the layout of.
    pub fn over<'a>(&self, file: &'a [u8]) -> GoFunctions<'a> {
        GoFunctions { file, layout: self.clone() }
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.table.len()
    }

    /// From the first function's start to the last one's end: nothing but Go's functions lies in between.
    pub fn addresses(&self) -> Range<u64> {
        self.addresses.clone()
    }
}

impl<'a> GoFunctions<'a> {
    /// How many functions there are.
    pub fn count(&self) -> usize {
        self.layout.count
    }

    fn table(&self) -> &'a [u8] {
        self.file.get(self.layout.table.clone()).unwrap_or_default()
    }

    /// 4 bytes of the table.
    fn half(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.table().get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    /// Where a function starts; of the number behind the last: where that ends.
    fn start(&self, number: usize) -> u64 {
        let relative = self.half(self.layout.functions + number * ENTRY).unwrap_or(0);
        self.layout.text.saturating_add(relative.into())
    }

    /// A function by its number; `None` where its description lies outside of the table.
    pub fn function(&self, number: usize) -> Option<GoFunction> {
        let at = self.layout.functions.checked_add(self.half(self.layout.functions + number * ENTRY + 4)? as usize)?;
        let flags = *self.table().get(at.checked_add(self.layout.flags)?)?;
        Some(GoFunction {
            addresses: self.start(number)..self.start(number + 1),
            is_first: flags & TOP_FRAME != 0,
            changes_stack: flags & WRITES_STACK_POINTER != 0,
            name: self.half(at + 4)? as usize,
            program: self.half(at + 16)? as usize,
        })
    }

    /// The number of the function that holds the address.
    pub fn find(&self, address: u64) -> Option<usize> {
        if !self.layout.addresses.contains(&address) {
            return None;
        }
        let (mut low, mut high) = (0, self.layout.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle) <= address { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// The function's name, as Go writes it: `main.(*Server).serve`.
    pub fn name(&self, function: &GoFunction) -> Option<&'a str> {
        let rest = self.table().get(self.layout.names.checked_add(function.name)?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    /// The function's machine code.
    pub fn code(&self, function: &GoFunction) -> &'a [u8] {
        let at = |address: u64| self.layout.code.saturating_add((address - self.layout.addresses.start) as usize);
        self.file.get(at(function.addresses.start)..at(function.addresses.end)).unwrap_or_default()
    }

    /// How far the stack pointer has moved since the function's first instruction, in bytes, as runs of addresses in
    /// order. Gives how many bytes were read for it.
    pub fn depths(&self, function: &GoFunction, mut depth: impl FnMut(Range<u64>, i32)) -> usize {
        let Some(program) = self
            .layout
            .programs
            .checked_add(function.program)
            .filter(|_| function.program > 0)
            .and_then(|at| self.table().get(at..))
        else {
            return 0;
        };
        let (mut rest, mut value, mut at) = (program, -1_i32, function.addresses.start);
        let mut first = true;
        while at < function.addresses.end {
            let (Some(change), Some(step)) = (varint(&mut rest), varint(&mut rest)) else { break };
            // A change of 0 ends the program, but the first one may be.
            if change == 0 && !std::mem::take(&mut first) {
                break;
            }
            first = false;
            let change = if change & 1 == 1 { !(change >> 1) } else { change >> 1 };
            value = value.wrapping_add(change.cast_signed());
            let end = at.saturating_add(step.into()).min(function.addresses.end);
            if at < end {
                depth(at..end, value);
            }
            at = end;
        }
        program.len() - rest.len()
    }
}

/// Where Go's functions begin, where the table does not say: the linker's symbol, or the section of code.
fn start_of_text(elf: &Elf<'_>) -> Option<u64> {
    let symbol = elf.symbols().find(|symbol| symbol.name() == Ok("runtime.text")).map(|symbol| symbol.address());
    symbol.or_else(|| Some(elf.section_by_name(".text")?.address()))
}

/// The bytes of the file that one segment puts at these addresses.
fn place_of(elf: &Elf<'_>, addresses: &Range<u64>) -> Option<Range<usize>> {
    elf.elf_program_headers().iter().find_map(|header| {
        let (offset, size) = header.file_range(Endianness::Little);
        let from = addresses.start.checked_sub(header.p_vaddr(Endianness::Little))?;
        let length = addresses.end - addresses.start;
        (header.p_type(Endianness::Little) == object::elf::PT_LOAD && from.checked_add(length)? <= size)
            .then_some(())?;
        let start = usize::try_from(offset.checked_add(from)?).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    })
}

/// Seven bits a byte, the lowest first (Go's `binary.Uvarint`); five bytes at most.
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
