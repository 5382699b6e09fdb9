//! Shapes shared with the kernel's program (`bpf/unwind.h`, `bpf/samples.h`, `bpf/sampler.bpf.c`), which asserts the
//! same offsets when it is compiled. Invariant: a record that is shorter than its fields say gives `None`.

use crate::bpf::assert_shape;
use crate::sample::Incomplete;
use crate::sample::fields::Fields;
use std::sync::atomic::AtomicU64;

/// `struct space`: a run in `mappings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KernelSpace {
    pub first: u32,
    pub count: u32,
}

// SAFETY: two u32 without padding: every bit pattern is a value, and no byte is uninitialised.
unsafe impl aya::Pod for KernelSpace {}

/// `struct target`: a process of the target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub space: KernelSpace,
    pub children: u32,
}

// SAFETY: three u32 without padding: every bit pattern is a value, and no byte is uninitialised.
unsafe impl aya::Pod for Target {}

/// `struct cpu`: counts of one CPU since the start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuCounts {
    pub served: u64,
    pub due: u64,
    pub slice_start: u64,
    pub slice_thread: u32,
    pub walks: u32,
    pub part: u64,
    /// Ticks of other processes.
    pub foreign: u64,
    /// Samples that found no room in the ring.
    pub lost: u64,
    pub delays: u64,
    pub delay_sum: u64,
    /// ns that taking stacks took.
    pub spent: u64,
    /// Walks that were handed over to user space.
    pub copies: u64,
    /// Stacks followed at switches for waits, and ns that this took.
    pub walked: u64,
    pub walk_spent: u64,
    /// Stacks of waits, and waits with their ns within the window, that found no room.
    pub stacks_lost: u64,
    pub waits_lost: u64,
    pub nanos_lost: u64,
    /// Times that a stack's id stood for another one too; they were told apart.
    pub collisions: u64,
    /// Threads entered: with another count there are others to be read.
    pub threads: u64,
    /// Switches of threads that found no place among them.
    pub threads_lost: u64,
    /// Processes born to the target that found no room.
    pub processes_lost: u64,
    pub reserved: [u64; 4],
}

// SAFETY: integers without padding: every bit pattern is a value.
unsafe impl aya::Pod for CpuCounts {}

/// `struct clock` of a CPU, mapped. `period` 0: it is not known.
#[repr(C)]
pub struct Clock {
    pub start: AtomicU64,
    pub period: AtomicU64,
}

assert_shape!(KernelSpace, 8: first 0, count 4);
assert_shape!(Target, 12: space 0, children 8);
assert_shape!(
    CpuCounts, 192: served 0, due 8, slice_start 16, slice_thread 24, walks 28, part 32, foreign 40, lost 48, delays 56,
    delay_sum 64, spent 72, copies 80, walked 88, walk_spent 96, stacks_lost 104, waits_lost 112, nanos_lost 120,
    collisions 128, threads 136, threads_lost 144, processes_lost 152, reserved 160
);
assert_shape!(Clock, 16: start 0, period 8);

/// `struct mapping`, as [`KernelMapping::bytes`] writes it.
#[repr(C)]
pub struct KernelMapping {
    pub start: u64,
    pub end: u64,
    pub bias: u64,
    pub first_page: u32,
    pub pages: u32,
    pub first_rule: u32,
    pub padding: u32,
}

assert_shape!(
    KernelMapping, 40: start 0, end 8, bias 16, first_page 24, pages 28, first_rule 32, padding 36
);

impl KernelMapping {
    pub const SIZE: usize = size_of::<KernelMapping>();

    pub fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (at, word) in [self.start, self.end, self.bias].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        for (at, word) in [self.first_page, self.pages, self.first_rule].into_iter().enumerate() {
            bytes[24 + at * 4..28 + at * 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// A sample as the kernel's program took it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    pub cpu: u32,
    pub time: u64,
    /// Of [`Record::Stack`]: its id.
    pub weight: u64,
    pub pid: u32,
    pub tid: u32,
    pub late: bool,
    /// Why the walk ended, as far as it got.
    pub ended: Ended,
    /// Bytes of stack from `sp` on in the pieces before.
    pub copied: u32,
    pub space: KernelSpace,
    pub lookup: u64,
    pub sp: u64,
    pub bp: u64,
    /// The kernel's addresses, then the user's.
    addresses: &'a [u8],
    /// Bytes of the kernel's.
    kernel: usize,
}

/// `enum ended` of `bpf/unwind.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Complete,
    /// No known mapping holds the address: user space looks again.
    NoMapping,
    /// No row, and no frame pointer to follow either.
    TableLacks,
    BadRead,
    NotARoot,
    TooDeep,
    NoRegisters,
    RuleUnsupported,
}

impl Ended {
    fn new(number: u8) -> Option<Ended> {
        use Ended::*;
        [Complete, NoMapping, TableLacks, BadRead, NotARoot, TooDeep, NoRegisters, RuleUnsupported]
            .get(usize::from(number))
            .copied()
    }

    /// Where user space cannot help.
    pub fn incomplete(self) -> Option<Incomplete> {
        match self {
            Ended::Complete => None,
            Ended::NoMapping | Ended::TableLacks => Some(Incomplete::NoTable),
            Ended::BadRead => Some(Incomplete::BadRead),
            Ended::NotARoot => Some(Incomplete::NotARoot),
            Ended::TooDeep => Some(Incomplete::TooDeep),
            Ended::NoRegisters => Some(Incomplete::NoRegisters),
            Ended::RuleUnsupported => Some(Incomplete::UnsupportedRule),
        }
    }
}

fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
}

impl Sample<'_> {
    /// Leaf first.
    pub fn kernel_addresses(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        words(&self.addresses[..self.kernel])
    }

    /// Leaf first; return addresses are one less, inside their calls.
    pub fn user_addresses(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        words(&self.addresses[self.kernel..])
    }

    /// All addresses as they lie in the record, the kernel's first.
    pub fn address_bytes(&self) -> &[u8] {
        self.addresses
    }
}

/// What the ring holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    Sample(Sample<'a>),
    /// A stack at which a thread waits, met for the first time; `weight` is its id.
    Stack(Sample<'a>),
    /// A piece of the stack of the sample to come: CPU, time, bytes.
    Piece(u32, u64, &'a [u8]),
    /// Addresses along frame pointers of the sample to come.
    Pointers(u32, u64, &'a [u8]),
}

/// Reads a record of the ring.
pub fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let mut fields = Fields(bytes);
    let (kind, cpu, time) = (fields.u32()?, fields.u32()?, fields.u64()?);
    match kind {
        0 => Some(Record::Sample(sample(&mut fields, cpu, time)?)),
        3 => Some(Record::Stack(sample(&mut fields, cpu, time)?)),
        1 | 2 => {
            let size = usize::try_from(fields.u64()?).ok()?;
            let bytes = fields.bytes(size)?;
            Some(if kind == 1 { Record::Piece(cpu, time, bytes) } else { Record::Pointers(cpu, time, bytes) })
        }
        _ => None,
    }
}

fn sample<'a>(fields: &mut Fields<'a>, cpu: u32, time: u64) -> Option<Sample<'a>> {
    let weight = fields.u64()?;
    let (pid, tid) = (fields.u32()?, fields.u32()?);
    let (kernel, user) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    let [ended, late, _, _] = *fields.bytes(4)? else { return None };
    let copied = fields.u32()?;
    let space = KernelSpace { first: fields.u32()?, count: fields.u32()? };
    fields.u32()?;
    let (lookup, sp, bp) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (addresses, kernel) = (fields.bytes((kernel + user) * 8)?, kernel * 8);
    let (ended, late) = (Ended::new(ended)?, late != 0);
    Some(Sample { cpu, time, weight, pid, tid, late, ended, copied, space, lookup, sp, bp, addresses, kernel })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([0u32, 1].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([77u64, 1_000].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([10u32, 11].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([1u16, 2].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([3u8, 1, 0, 0]);
        bytes.extend([64u32, 5, 6, 0].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([0xa0u64, 0xb0, 0xc0].iter().flat_map(|word| word.to_le_bytes()));
        assert_eq!(bytes.len(), 80, "as the kernel's program asserts");
        bytes.extend([0xffff_ffff_8100_0000u64, 0x4000, 0x5000].iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_sample_is_read_field_by_field_and_a_shorter_one_is_none() {
        let bytes = record();
        let Some(Record::Sample(sample)) = parse(&bytes) else { panic!("a sample") };
        assert_eq!((sample.cpu, sample.time, sample.weight, sample.pid, sample.tid), (1, 77, 1_000, 10, 11));
        assert_eq!((sample.ended, sample.late, sample.copied), (Ended::BadRead, true, 64));
        assert_eq!(sample.space, KernelSpace { first: 5, count: 6 });
        assert_eq!((sample.lookup, sample.sp, sample.bp), (0xa0, 0xb0, 0xc0));
        assert_eq!(sample.kernel_addresses().collect::<Vec<_>>(), [0xffff_ffff_8100_0000]);
        assert_eq!(sample.user_addresses().collect::<Vec<_>>(), [0x4000, 0x5000]);
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
    }

    #[test]
    fn a_piece_is_as_long_as_it_says() {
        let mut bytes = [1u32, 0].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        bytes.extend([9u64, 3].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([1, 2, 3, 4]);
        assert_eq!(parse(&bytes), Some(Record::Piece(0, 9, &[1, 2, 3])));
        assert_eq!(parse(&bytes[..26]), None);
    }
}
