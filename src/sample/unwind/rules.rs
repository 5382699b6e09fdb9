//! Call-frame information as compact rules: one look-up an address, or all rows of a file for its table. Of Go's
//! functions it is their own table (`go.rs`).
//! Source of the format: DWARF 5 section 6.4; Linux Standard Base Core 5.0, chapter 10.6 (.eh_frame, .eh_frame_hdr).
//! Invariant: a rule says exactly what the file says or that it cannot ([`Rule::Unsupported`], [`Rule::NoTable`]).

use super::go;
use super::index::Index;
use crate::elf::{GoFunctions, GoLayout, Image, Segment};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, LittleEndian, RegisterRule, UnwindContext, UnwindSection, X86_64,
};
use std::ops::Range;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// How to find the caller's frame from an address. The return address lies at CFA - 8 in all forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// No call-frame information covers the address.
    NoTable,
    /// CFA = register (DWARF number) + offset.
    Frame {
        /// DWARF number of the register that the CFA is counted from.
        register: u8,
        /// Bytes from that register to the CFA.
        offset: i32,
        /// Where the caller's rbp is.
        saved: Saved,
    },
    /// CFA = the word at register + offset: functions that realign their stack.
    Dereference {
        /// DWARF number of the register that the word is counted from.
        register: u8,
        /// Bytes from that register to the word.
        offset: i32,
        /// Where the caller's rbp is.
        saved: Saved,
    },
    /// A stub of the procedure linkage table: CFA = rsp + offset, and 8 more from this byte of its 16 on, where it
    /// has pushed.
    Stub {
        /// Bytes from rsp to the CFA before the push.
        offset: i32,
        /// Byte of the stub, 0..=15, from which on it has pushed.
        from: u8,
    },
    /// CFA = rbp + offset, on another stack than rsp: the function that has set the stack pointer.
    OtherStack {
        /// Bytes from rbp to the CFA.
        offset: i32,
        /// Where the caller's rbp is.
        saved: Saved,
    },
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
    index: Index,
    /// Go's own table, where the image has one.
    go: Option<GoLayout>,
    /// Addresses that the file's segments hold, in order. Nothing else can be mapped, so nothing else has a rule.
    held: Vec<Range<u64>>,
}

/// What says how the callers of a run of addresses are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Described {
    /// A frame description, at this offset of `.eh_frame`.
    Frames(usize),
    /// Go's function of this number.
    Go(usize),
}

/// Memory for reading rows, and how much reading is left.
pub struct Reading {
    context: UnwindContext<usize>,
    /// Bytes. Each byte of a sound file is read a few times; in a damaged one many descriptions can share a long
    /// program.
    left: usize,
}

/// How often each byte of the call-frame information may be read before the file counts as damaged, and how many are
/// free.
const MOST_READINGS: usize = 16;
const FREE_READING: usize = 1 << 16;

impl Rules {
    /// Reads which addresses have call-frame information: by the linker's table (`.eh_frame_hdr`) where it can
    /// be searched, else from all of `.eh_frame`. Without such sections every address is [`Rule::NoTable`].
    pub fn new(image: Image) -> Rules {
        let mut bases = BaseAddresses::default();
        let eh_frame = image.section(".eh_frame");
        let header = image.section(".eh_frame_hdr");
        if let Some((address, _)) = &eh_frame {
            bases = bases.set_eh_frame(*address);
        }
        if let Some((address, _)) = &header {
            bases = bases.set_eh_frame_hdr(*address);
        }
        if let Some((address, _)) = image.section(".text") {
            bases = bases.set_text(address);
        }
        if let Some((address, _)) = image.section(".got") {
            bases = bases.set_got(address);
        }
        let linker = header.zip(eh_frame.as_ref()).and_then(|(header, (eh_frame, _))| {
            Index::of_linker(image.bytes(), &header, *eh_frame) //
        });
        let index = Index::made(Vec::new());
        let eh_frame = eh_frame.map(|(_, range)| range);
        let held = held(&image);
        let go = GoLayout::of(image.bytes());
        let rules = Rules { bases, eh_frame, index, go, held, image };
        let index = linker.unwrap_or_else(|| Index::made(rules.scan()));
        Rules { index, ..rules }
    }

    /// The image that they are of.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// How much there is to read: the size of `.eh_frame` and of Go's table in bytes.
    pub fn bytes(&self) -> usize {
        self.eh_frame.as_ref().map_or(0, |range| range.len()) + self.go.as_ref().map_or(0, GoLayout::bytes)
    }

    /// For a reading of all rows of the file, or of one worker's share of them.
    pub fn reading(&self) -> Reading {
        let left = self.bytes().saturating_mul(MOST_READINGS).saturating_add(FREE_READING);
        Reading { context: UnwindContext::new(), left }
    }

    fn go(&self) -> Option<GoFunctions<'_>> {
        self.go.as_ref().map(|go| go.over(self.image.bytes()))
    }

    fn section(&self) -> Option<EhFrame<Reader<'_>>> {
        let bytes = &self.image.bytes()[self.eh_frame.clone()?];
        let mut section = EhFrame::new(bytes, LittleEndian);
        section.set_address_size(8);
        Some(section)
    }

    /// Reads all of `.eh_frame` once, for files without a usable search table.
    fn scan(&self) -> Vec<(u64, usize)> {
        let Some(section) = self.section() else { return Vec::new() };
        let mut found = Vec::new();
        let mut left = self.reading().left;
        let mut entries = section.entries(&self.bases);
        while let Ok(Some(entry)) = entries.next() {
            let gimli::CieOrFde::Fde(partial) = entry else { continue };
            if let Ok(fde) = partial.parse(|s, b, o| s.cie_from_offset(b, o)) {
                found.push((fde.initial_address(), fde.offset()));
                let Some(after) = left.checked_sub(fde.cie().entry_len()) else { break };
                left = after;
            }
        }
        found
    }

    /// The addresses around this one that the file's segments hold.
    fn held(&self, address: u64) -> Option<&Range<u64>> {
        let at = self.held.partition_point(|held| held.start <= address).checked_sub(1)?;
        self.held.get(at).filter(|held| held.contains(&address))
    }

    /// All that is described: the addresses that each is listed for (of a frame description, up to the next one's
    /// first), by address. Where Go's functions lie only their table counts.
    pub fn descriptions(&self) -> Vec<(Range<u64>, Described)> {
        let mut found = self.frame_descriptions();
        let Some((functions, all)) = self.go().zip(self.go.as_ref().map(GoLayout::addresses)) else { return found };
        found.retain_mut(|(listed, _)| {
            if listed.start < all.start {
                listed.end = listed.end.min(all.start);
            }
            !all.contains(&listed.start)
        });
        let at = found.partition_point(|(listed, _)| listed.start < all.start);
        let of_go = (0..functions.count()).filter_map(|number| {
            let function = functions.function(number)?;
            (!function.addresses.is_empty()).then_some((function.addresses, Described::Go(number)))
        });
        found.splice(at..at, of_go.collect::<Vec<_>>());
        found
    }

    fn frame_descriptions(&self) -> Vec<(Range<u64>, Described)> {
        let bytes = self.image.bytes();
        let mut found: Vec<(Range<u64>, Described)> = Vec::with_capacity(self.index.len());
        for (start, offset) in (0..self.index.len()).map(|number| self.index.at(bytes, number)) {
            if let Some((last, _)) = found.last_mut() {
                last.end = last.end.min(start);
            }
            // Of two for one address the later holds, as in `Index::find`.
            found.pop_if(|(last, _)| last.is_empty());
            if let Some(held) = self.held(start) {
                found.push((start..held.end, Described::Frames(offset)));
            }
        }
        found
    }

    /// The rows of one of [`Rules::descriptions`], in order: where each begins and its rule. What cannot be read is
    /// [`Rule::Unsupported`]. `false`: so is all of it, since more would have been read than a sound file makes
    /// necessary.
    pub fn rows(
        &self,
        (listed, described): &(Range<u64>, Described),
        reading: &mut Reading,
        mut row: impl FnMut(u64, Rule),
    ) -> bool {
        match described {
            Described::Frames(offset) => self.rows_of_frames(listed, *offset, reading, row),
            Described::Go(number) => {
                let function = self.go().and_then(|go| go.function(*number).map(|function| (go, function)));
                let read = match function.filter(|_| reading.left > 0) {
                    Some((go, function)) => go::rows(&go, &function, listed, row),
                    None => {
                        row(listed.start, Rule::Unsupported);
                        return false;
                    }
                };
                reading.left = reading.left.saturating_sub(read);
                true
            }
        }
    }

    fn rows_of_frames(
        &self,
        listed: &Range<u64>,
        offset: usize,
        reading: &mut Reading,
        mut row: impl FnMut(u64, Rule),
    ) -> bool {
        let none = |row: &mut dyn FnMut(u64, Rule)| row(listed.start, Rule::NoTable);
        let Some(section) = self.section() else { return true };
        let Ok(fde) = section.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset) else {
            none(&mut row);
            return true;
        };
        let covered = fde.initial_address().max(listed.start)..fde.end_address().min(listed.end);
        if covered.is_empty() || covered.start > listed.start {
            none(&mut row);
        }
        if covered.is_empty() {
            return true;
        }
        let cost = fde.entry_len().saturating_add(fde.cie().entry_len());
        let affordable = reading.left.checked_sub(cost);
        match affordable {
            Some(left) => {
                reading.left = left;
                self.covered(&fde, &section, &covered, &mut reading.context, &mut row);
            }
            None => row(covered.start, Rule::Unsupported),
        }
        if covered.end < listed.end {
            row(covered.end, Rule::NoTable);
        }
        affordable.is_some()
    }

    /// The rows of these addresses, which the description covers.
    fn covered(
        &self,
        fde: &Description,
        section: &EhFrame<Reader>,
        covered: &Range<u64>,
        context: &mut UnwindContext<usize>,
        row: &mut impl FnMut(u64, Rule),
    ) {
        if fde.is_signal_trampoline() {
            return row(covered.start, Rule::Signal);
        }
        let mut reached = covered.start;
        if let Ok(mut table) = fde.rows(section, &self.bases, context) {
            while let Ok(Some(found)) = table.next_row() {
                let (start, end) = (found.start_address().max(reached), found.end_address().min(covered.end));
                if start < end {
                    row(start, rule_of(found, fde, section));
                    reached = end;
                }
            }
        }
        if reached < covered.end {
            row(reached, Rule::Unsupported);
        }
    }

    /// The rule for an address as the file counts it.
    pub fn at(&self, address: u64, context: &mut UnwindContext<usize>) -> Rule {
        self.lookup(address, context).unwrap_or(Rule::NoTable)
    }

    fn lookup(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Rule> {
        if let Some((functions, number)) = self.go().and_then(|go| go.find(address).map(|number| (go, number))) {
            let function = functions.function(number)?;
            let mut held = None;
            go::rows(&functions, &function, &function.addresses, |at, rule| {
                held = if at <= address { Some(rule) } else { held };
            });
            return held;
        }
        let section = self.section()?;
        let fde = self.description(&section, address)?;
        if fde.is_signal_trampoline() {
            return Some(Rule::Signal);
        }
        let row = fde.unwind_info_for_address(&section, &self.bases, context, address);
        Some(row.map_or(Rule::Unsupported, |row| rule_of(row, &fde, &section)))
    }

    fn description<'a>(&'a self, section: &EhFrame<Reader<'a>>, address: u64) -> Option<Description<'a>> {
        let held = self.held(address)?;
        let (start, offset) = self.index.find(self.image.bytes(), address).filter(|(start, _)| held.contains(start))?;
        let hidden = self.go.as_ref().is_some_and(|go| {
            let all = go.addresses();
            all.contains(&address) || all.contains(&start) || (start < all.start && all.end <= address)
        });
        if hidden {
            return None;
        }
        let fde = section.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()?;
        fde.contains(address).then_some(fde)
    }

    /// Whether an expression in force at this address jumps. It may do so for ever, and framehop would follow it.
    pub fn jumps(&self, address: u64, context: &mut UnwindContext<usize>) -> bool {
        let found = self.section().and_then(|section| Some((self.description(&section, address)?, section)));
        let Some((fde, section)) = found else { return false };
        let Ok(row) = fde.unwind_info_for_address(&section, &self.bases, context, address) else { return false };
        let mut expressions = Vec::new();
        if let CfaRule::Expression(at) = row.cfa() {
            expressions.push(*at);
        }
        for register in [X86_64::RBP, X86_64::RSP, fde.cie().return_address_register()] {
            if let Some(RegisterRule::Expression(at) | RegisterRule::ValExpression(at)) = row.register(register) {
                expressions.push(at);
            }
        }
        expressions.iter().filter_map(|at| at.get(&section).ok()).any(|expression| {
            let mut operations = expression.operations(fde.cie().encoding());
            let jump = |operation| matches!(operation, gimli::Operation::Skip { .. } | gimli::Operation::Bra { .. });
            std::iter::from_fn(|| operations.next().ok().flatten()).any(jump)
        })
    }

    /// Whether the file's own search table is used.
    pub fn uses_search_table(&self) -> bool {
        matches!(self.index, Index::Linker { .. })
    }
}

/// The addresses of an image's segments, joined where they touch.
fn held(image: &Image) -> Vec<Range<u64>> {
    let addresses = |segment: &Segment| {
        let size = segment.file.end - segment.file.start;
        segment.address..segment.address.saturating_add(size)
    };
    let mut segments: Vec<Range<u64>> = image.segments().iter().map(addresses).collect();
    segments.sort_unstable_by_key(|segment| segment.start);
    segments.dedup_by(|next, joined| {
        let touch = next.start <= joined.end;
        if touch {
            joined.end = joined.end.max(next.end);
        }
        touch
    });
    segments
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
            let register = u8::try_from(register.0).ok().filter(|register| *register < GENERAL)?;
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
/// Registers from here on (the instruction pointer, those of vectors) are not among those that a sample has.
const GENERAL: u8 = 16;
const RBP: u8 = 6;
const RSP: u8 = 7;

/// An expression that begins with a register and an offset: both, and what follows.
fn register_plus(bytes: &[u8]) -> Option<(u8, i32, &[u8])> {
    let (operation, mut rest) = bytes.split_first()?;
    let register = operation.checked_sub(BREG0).filter(|register| *register < GENERAL)?;
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
