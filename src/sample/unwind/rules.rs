//! Call-frame information as compact rules, one look-up an address, made only for addresses that occur.
//! Source of the format: DWARF 5 section 6.4; Linux Standard Base Core 5.0, chapter 10.6 (.eh_frame, .eh_frame_hdr).
//! Invariant: a rule says exactly what the table says or that it cannot (`Rule::Complex`, `Rule::NoTable`).

use crate::elf::Image;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, RegisterRule, UnwindContext, UnwindSection,
    X86_64,
};
use std::ops::Range;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// How to find the caller's frame from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// CFA = register (DWARF number) + offset; the return address lies at CFA - 8; the caller's rbp at CFA + offset
    /// where it was saved, else it is unchanged.
    Frame { register: u8, offset: i32, saved_rbp: Option<i32> },
    /// The kernel's signal trampoline: the interrupted registers lie in the `ucontext` at the stack pointer.
    Signal,
    /// The return address is undefined here: there is no caller.
    Root,
    /// Needs an expression or a register that this table form does not hold.
    Complex,
    /// No call-frame information covers the address.
    NoTable,
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
        let return_address = fde.cie().return_address_register();
        let row = fde.unwind_info_for_address(&section, &self.bases, context, address).ok()?;
        let caller = row.register(return_address);
        if caller == Some(RegisterRule::Undefined) {
            return Some(Rule::Root);
        }
        Some(simple(row, caller).unwrap_or(Rule::Complex))
    }
}

/// The row as a [`Rule::Frame`] where it fits that form.
fn simple(row: &gimli::UnwindTableRow<usize>, return_address: Option<RegisterRule<usize>>) -> Option<Rule> {
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    (return_address == Some(RegisterRule::Offset(-8))).then_some(())?;
    let saved_rbp = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => None,
        Some(RegisterRule::Offset(at)) => Some(i32::try_from(at).ok()?),
        Some(_) => return None,
    };
    let register = u8::try_from(register.0).ok()?;
    Some(Rule::Frame { register, offset: i32::try_from(*offset).ok()?, saved_rbp })
}
