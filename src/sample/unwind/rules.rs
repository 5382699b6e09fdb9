//! Call-frame information as compact rules: one look-up an address, or all rows of a file for its table.
//! Source of the format: DWARF 5 section 6.4; Linux Standard Base Core 5.0, chapter 10.6 (.eh_frame, .eh_frame_hdr).
//! Invariant: a rule says exactly what the file says or that it cannot ([`Rule::Unsupported`], [`Rule::NoTable`]).

use crate::elf::Image;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, RegisterRule, UnwindContext, UnwindSection,
    X86_64,
};
use std::ops::Range;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// How to find the caller's frame from an address. The return address lies at CFA - 8 in all forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// No call-frame information covers the address.
    NoTable,
    /// CFA = register (DWARF number) + offset.
    Frame { register: u8, offset: i32, saved: Saved },
    /// CFA = the word at register + offset: functions that realign their stack.
    Dereference { register: u8, offset: i32, saved: Saved },
    /// A stub of the procedure linkage table: CFA = rsp + offset, and 8 more from this byte of its 16 on, where it has pushed.
    Stub { offset: i32, from: u8 },
    /// The kernel's signal trampoline: the interrupted registers lie in the `ucontext` at the stack pointer.
    Signal,
    /// The return address is undefined here: there is no caller.
    Root,
    /// Another expression, or a register that nobody follows.
    Unsupported,
}

/// Where the caller's rbp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Saved {
    /// In rbp still.
    Same,
    /// In memory at CFA + offset.
    AtCfa(i32),
    /// In memory at rbp + offset.
    AtFramePointer(i32),
}

/// The call-frame information of one image.
pub struct Rules {
    image: Image,
    bases: BaseAddresses,
    eh_frame: Option<Range<usize>>,
    /// Without a usable `.eh_frame_hdr`: all (start, end, offset of the FDE), by start.
    index: Option<Vec<(u64, u64, usize)>>,
    eh_frame_hdr: Option<Range<usize>>,
}

impl Rules {
    pub fn new(image: Image) -> Rules {
        let mut bases = BaseAddresses::default();
        let locate = |name: &str| image.section(name);
        let eh_frame = locate(".eh_frame");
        let header = locate(".eh_frame_hdr");
        let text = locate(".text");
        let got = locate(".got");
        if let Some((address, _)) = &eh_frame {
            bases = bases.set_eh_frame(*address);
        }
        if let Some((address, _)) = &header {
            bases = bases.set_eh_frame_hdr(*address);
        }
        if let Some((address, _)) = &text {
            bases = bases.set_text(*address);
        }
        if let Some((address, _)) = &got {
            bases = bases.set_got(*address);
        }
        let mut rules = Rules {
            bases,
            eh_frame: eh_frame.map(|(_, range)| range),
            eh_frame_hdr: header.map(|(_, range)| range),
            index: None,
            image,
        };
        if rules.header_table_is_absent() {
            rules.eh_frame_hdr = None;
            rules.index = Some(rules.scan());
        }
        rules
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    /// How much there is to read.
    pub fn bytes(&self) -> usize {
        self.eh_frame.as_ref().map_or(0, |range| range.len())
    }

    fn section(&self) -> Option<EhFrame<Reader<'_>>> {
        let bytes = &self.image.bytes()[self.eh_frame.clone()?];
        let mut section = EhFrame::new(bytes, LittleEndian);
        section.set_address_size(8);
        Some(section)
    }

    fn header(&self) -> Option<gimli::ParsedEhFrameHdr<Reader<'_>>> {
        let bytes = &self.image.bytes()[self.eh_frame_hdr.clone()?];
        EhFrameHdr::new(bytes, LittleEndian).parse(&self.bases, 8).ok()
    }

    fn header_table_is_absent(&self) -> bool {
        self.header().is_none_or(|header| header.table().is_none())
    }

    /// Reads all of `.eh_frame` once, for files linked without a search table.
    fn scan(&self) -> Vec<(u64, u64, usize)> {
        let Some(section) = self.section() else { return Vec::new() };
        let mut found = Vec::new();
        let mut entries = section.entries(&self.bases);
        while let Ok(Some(entry)) = entries.next() {
            let gimli::CieOrFde::Fde(partial) = entry else { continue };
            if let Ok(fde) = partial.parse(|s, b, o| s.cie_from_offset(b, o)) {
                found.push((fde.initial_address(), fde.end_address(), fde.offset()));
            }
        }
        found.sort_unstable();
        found
    }

    /// First address and offset of all frame descriptions, by address.
    pub fn descriptions(&self) -> Vec<(u64, usize)> {
        let mut found: Vec<(u64, usize)> = match &self.index {
            Some(index) => index.iter().map(|(start, _, offset)| (*start, *offset)).collect(),
            None => self.listed().unwrap_or_default(),
        };
        // A search table is sorted by its linker; a damaged one may not be.
        found.sort_unstable();
        found
    }

    fn listed(&self) -> Option<Vec<(u64, usize)>> {
        let header = self.header()?;
        let table = header.table()?;
        let mut entries = table.iter(&self.bases);
        let mut found = Vec::new();
        while let Ok(Some((start, description))) = entries.next() {
            let (gimli::Pointer::Direct(start), Ok(offset)) = (start, table.pointer_to_offset(description)) else {
                continue;
            };
            found.push((start, offset.0));
        }
        Some(found)
    }

    /// All rows of one frame description, in order: where each begins and its rule; gives the end of the last. What cannot be
    /// read is [`Rule::Unsupported`] to the description's end.
    pub fn rows(
        &self,
        offset: usize,
        context: &mut UnwindContext<usize>,
        mut row: impl FnMut(u64, Rule),
    ) -> Option<u64> {
        let section = self.section()?;
        let fde = section.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()?;
        let (start, end) = (fde.initial_address(), fde.end_address());
        if fde.is_signal_trampoline() {
            row(start, Rule::Signal);
            return Some(end);
        }
        let mut reached = start;
        let mut table = fde.rows(&section, &self.bases, context).ok()?;
        loop {
            match table.next_row() {
                Ok(Some(found)) => {
                    row(found.start_address(), rule_of(found, &fde, &section));
                    reached = found.end_address();
                }
                Ok(None) => return Some(end),
                Err(_) => {
                    row(reached, Rule::Unsupported);
                    return Some(end);
                }
            }
        }
    }

    fn fde<'a>(
        &'a self,
        section: &EhFrame<Reader<'a>>,
        address: u64,
    ) -> Option<gimli::FrameDescriptionEntry<Reader<'a>>> {
        let offset = match &self.index {
            Some(index) => {
                let at = index.partition_point(|(start, _, _)| *start <= address).checked_sub(1)?;
                index[at].2.into()
            }
            None => {
                let header = self.header()?;
                let table = header.table()?;
                table.pointer_to_offset(table.lookup(address, &self.bases).ok()?).ok()?
            }
        };
        let fde = section.fde_from_offset(&self.bases, offset, EhFrame::cie_from_offset).ok()?;
        fde.contains(address).then_some(fde)
    }

    /// The rule for an address as the file counts it.
    pub fn at(&self, address: u64, context: &mut UnwindContext<usize>) -> Rule {
        self.lookup(address, context).unwrap_or(Rule::NoTable)
    }

    fn lookup(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Rule> {
        let section = self.section()?;
        let fde = self.fde(&section, address)?;
        if fde.is_signal_trampoline() {
            return Some(Rule::Signal);
        }
        let row = fde.unwind_info_for_address(&section, &self.bases, context, address).ok()?;
        Some(rule_of(row, &fde, &section))
    }
}

type Description<'a> = gimli::FrameDescriptionEntry<Reader<'a>>;

fn rule_of(row: &gimli::UnwindTableRow<usize>, fde: &Description, section: &EhFrame<Reader>) -> Rule {
    match row.register(fde.cie().return_address_register()) {
        Some(RegisterRule::Undefined) => Rule::Root,
        Some(RegisterRule::Offset(-8)) => frame(row, section).unwrap_or(Rule::Unsupported),
        _ => Rule::Unsupported,
    }
}

fn frame(row: &gimli::UnwindTableRow<usize>, section: &EhFrame<Reader>) -> Option<Rule> {
    let saved = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => Saved::Same,
        Some(RegisterRule::Offset(at)) => Saved::AtCfa(i32::try_from(at).ok()?),
        Some(RegisterRule::Expression(at)) => match register_plus(at.get(section).ok()?.0.slice())? {
            (RBP, offset, []) => Saved::AtFramePointer(offset),
            _ => return None,
        },
        Some(_) => return None,
    };
    match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let register = u8::try_from(register.0).ok()?;
            Some(Rule::Frame { register, offset: i32::try_from(*offset).ok()?, saved })
        }
        CfaRule::Expression(at) => {
            let bytes = at.get(section).ok()?;
            match register_plus(bytes.0.slice())? {
                (register, offset, [DEREF]) => Some(Rule::Dereference { register, offset, saved }),
                (RSP, offset, [breg16, 0, LIT15, AND, from @ LIT0..=LIT15, GE, LIT3, SHL, PLUS])
                    if *breg16 == BREG0 + 16 =>
                {
                    (saved == Saved::Same).then_some(Rule::Stub { offset, from: from - LIT0 })
                }
                _ => None,
            }
        }
    }
}

/// Operations of DWARF expressions (DWARF 5, section 7.7.1).
const DEREF: u8 = 0x06;
const AND: u8 = 0x1a;
const PLUS: u8 = 0x22;
const SHL: u8 = 0x24;
const GE: u8 = 0x2a;
const LIT0: u8 = 0x30;
const LIT3: u8 = LIT0 + 3;
const LIT15: u8 = LIT0 + 15;
const BREG0: u8 = 0x70;
const RBP: u8 = 6;
const RSP: u8 = 7;

/// An expression that begins with a register and an offset: both, and what follows.
fn register_plus(bytes: &[u8]) -> Option<(u8, i32, &[u8])> {
    let (operation, mut rest) = bytes.split_first()?;
    let register = operation.checked_sub(BREG0).filter(|register| *register < 32)?;
    let offset = gimli::leb128::read::signed(&mut EndianSlice::new(rest, LittleEndian)).ok()?;
    let length = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    rest = &rest[length..];
    Some((register, i32::try_from(offset).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_and_its_offset_are_read_off_an_expression() {
        assert_eq!(register_plus(&[0x76, 0x78, DEREF]), Some((RBP, -8, &[DEREF][..])));
        assert_eq!(register_plus(&[0x77, 0x88, 0x01]), Some((RSP, 136, &[][..])));
        assert_eq!(register_plus(&[0x77, 0x88]), None);
        assert_eq!(register_plus(&[DEREF]), None);
        assert_eq!(register_plus(&[]), None);
    }
}
