//! Records of a perf ring as bytes, read by the layout of perf_event_open(2), "Overflow handling" and "MMAP layout".
//! Invariant: a record that is shorter than its fields say gives `None`; nothing is read outside of it.

use crate::sample::fields::Fields;

/// User registers that samples are asked for (`sample_regs_user`), as bits by the kernel's numbers: ax to ip (0..=8)
/// and r8 to r15 (16..=23) of asm/perf_regs.h.
pub const REGISTER_MASK: u64 = 0x00ff_01ff;
/// Registers in a sample, in the kernel's order: ax bx cx dx si di bp sp ip r8..r15 (asm/perf_regs.h).
const REGISTERS: usize = 17;
/// DWARF number of each of them (System V ABI for x86-64, figure 3.36).
const DWARF: [usize; REGISTERS] = [0, 3, 2, 1, 4, 5, 6, 7, 16, 8, 9, 10, 11, 12, 13, 14, 15];

/// Call chain entries from here on are markers such as PERF_CONTEXT_KERNEL, not addresses.
const CONTEXT_MAX: u64 = (-4095_i64) as u64;
/// PERF_CONTEXT_USER: user addresses follow.
const CONTEXT_USER: u64 = (-512_i64) as u64;

/// A sample: who, when, where.
#[derive(Debug, PartialEq, Eq)]
pub struct SampleRecord<'a> {
    /// The event that made it.
    pub event: u64,
    /// The process that was interrupted; 0 for the idle task.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// ns of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// What the sample stands for: ns of CPU for cpu-clock, cycles for cycles.
    pub period: u64,
    /// Little-endian addresses, leaf first, with the kernel's context markers.
    chain: &'a [u8],
    /// User registers by DWARF number; `None`: the thread had none.
    pub registers: Option<[u64; 17]>,
    /// Copy of the user stack from the stack pointer upwards, cut to the bytes that were copied.
    pub stack: &'a [u8],
    /// Bytes asked for; as many copied means that the stack goes on.
    pub stack_asked: usize,
}

impl SampleRecord<'_> {
    fn chain(&self) -> impl Iterator<Item = u64> + '_ {
        self.chain.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes")))
    }

    /// Kernel addresses, leaf first.
    pub fn kernel_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.chain().take_while(|entry| *entry != CONTEXT_USER).filter(|address| *address < CONTEXT_MAX)
    }

    /// User addresses that the kernel found along frame pointers, leaf first; none unless they were asked for.
    pub fn user_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.chain().skip_while(|entry| *entry != CONTEXT_USER).filter(|address| *address < CONTEXT_MAX)
    }
}

/// What a ring tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// `PERF_RECORD_SAMPLE`.
    Sample(SampleRecord<'a>),
    /// `PERF_RECORD_FORK`: a process or thread was born.
    Fork {
        /// The new process; of a new thread its process.
        pid: u32,
        /// The process that made it.
        parent: u32,
    },
    /// `PERF_RECORD_COMM`: a thread has a new name.
    Comm {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// The new name, at most 15 bytes.
        name: String,
        /// It comes with an exec: the process runs another program now.
        exec: bool,
    },
    /// `PERF_RECORD_MMAP2`: a process has mapped a file.
    Mapped {
        /// The process.
        pid: u32,
    },
    /// `PERF_RECORD_SWITCH_CPU_WIDE`: a thread lost the CPU or was given it.
    Switched {
        /// The process; 0 for the idle task.
        pid: u32,
        /// The thread.
        tid: u32,
        /// When, ns of `CLOCK_MONOTONIC`.
        time: u64,
        /// It lost the CPU.
        out: bool,
    },
    /// `PERF_RECORD_LOST`, `PERF_RECORD_LOST_SAMPLES`: so many records found no room.
    Lost(u64),
    /// `PERF_RECORD_THROTTLE`: the kernel has switched the event off for a while, as there were too many
    /// interrupts.
    Throttled,
    /// Any other record; it is passed over.
    Other,
}

/// Types of records (linux/perf_event.h).
const LOST: u32 = 2;
const COMM: u32 = 3;
const THROTTLE: u32 = 5;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;
const LOST_SAMPLES: u32 = 13;
const SWITCH_CPU_WIDE: u32 = 15;
/// In `misc` of a COMM record: the name came with an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// In `misc` of a switch record: the thread lost the CPU.
const MISC_SWITCH_OUT: u16 = 1 << 13;

/// Which optional fields the samples have.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Call chains of the kernel.
    pub kernel: bool,
    /// Else every sample stands for the same.
    pub period: Option<u64>,
}

/// Reads a record's body.
pub fn parse(kind: u32, misc: u16, body: &[u8], layout: Layout) -> Option<Record<'_>> {
    let mut fields = Fields(body);
    Some(match kind {
        SAMPLE => Record::Sample(sample(&mut fields, layout)?),
        FORK => Record::Fork { pid: fields.u32()?, parent: fields.u32()? },
        COMM => {
            let (pid, tid) = (fields.u32()?, fields.u32()?);
            let name = fields.0.split(|b| *b == 0).next()?;
            let name = String::from_utf8_lossy(name).into_owned();
            Record::Comm { pid, tid, name, exec: misc & MISC_COMM_EXEC != 0 }
        }
        MMAP2 => Record::Mapped { pid: fields.u32()? },
        LOST => {
            fields.u64()?;
            Record::Lost(fields.u64()?)
        }
        LOST_SAMPLES => Record::Lost(fields.u64()?),
        THROTTLE => Record::Throttled,
        SWITCH_CPU_WIDE => {
            // The other thread's numbers come first, then the sample id: pid, tid, time.
            fields.u64()?;
            let (pid, tid) = (fields.u32()?, fields.u32()?);
            Record::Switched { pid, tid, time: fields.u64()?, out: misc & MISC_SWITCH_OUT != 0 }
        }
        _ => Record::Other,
    })
}

/// Fields in the order of PERF_SAMPLE_IDENTIFIER, TID, TIME, PERIOD (where it varies), CALLCHAIN, REGS_USER,
/// STACK_USER.
fn sample<'a>(fields: &mut Fields<'a>, layout: Layout) -> Option<SampleRecord<'a>> {
    let event = fields.u64()?;
    let (pid, tid) = (fields.u32()?, fields.u32()?);
    let time = fields.u64()?;
    let period = match layout.period {
        Some(period) => period,
        None => fields.u64()?,
    };
    let chain = match layout.kernel {
        true => {
            let entries = usize::try_from(fields.u64()?).ok()?;
            fields.bytes(entries.checked_mul(8)?)?
        }
        false => &[],
    };
    let abi = fields.u64()?;
    let mut registers = None;
    if abi != 0 {
        let mut found = [0; 17];
        for number in DWARF {
            found[number] = fields.u64()?;
        }
        registers = Some(found);
    }
    let stack_asked = usize::try_from(fields.u64()?).ok()?;
    let mut stack: &[u8] = &[];
    if stack_asked > 0 {
        let copied = fields.bytes(stack_asked)?;
        let length = usize::try_from(fields.u64()?).ok()?.min(stack_asked);
        stack = &copied[..length];
    }
    Some(SampleRecord { event, pid, tid, time, period, chain, registers, stack, stack_asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { kernel: true, period: None };

    fn body() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(99u64.to_le_bytes());
        bytes.extend(7u32.to_le_bytes());
        bytes.extend(8u32.to_le_bytes());
        for word in [1000, 1_003_009, 2, (-128_i64) as u64, 0xffff_ffff_8100_0000, 2] {
            bytes.extend(word.to_le_bytes());
        }
        for register in 0..17u64 {
            bytes.extend((register + 100).to_le_bytes());
        }
        bytes.extend(16u64.to_le_bytes());
        bytes.extend([1; 16]);
        bytes.extend(8u64.to_le_bytes());
        bytes
    }

    #[test]
    fn a_sample_gives_its_thread_kernel_chain_registers_by_dwarf_number_and_the_copied_part_of_the_stack() {
        let body = body();
        let Some(Record::Sample(sample)) = parse(SAMPLE, 0, &body, LAYOUT) else { panic!("not a sample") };
        assert_eq!((sample.event, sample.pid, sample.tid), (99, 7, 8));
        assert_eq!((sample.time, sample.period), (1000, 1_003_009));
        assert_eq!(sample.kernel_addresses().collect::<Vec<_>>(), [0xffff_ffff_8100_0000]);
        let registers = sample.registers.unwrap();
        assert_eq!((registers[3], registers[7], registers[16], registers[8]), (101, 107, 108, 109));
        assert_eq!((sample.stack, sample.stack_asked), (&[1u8; 8][..], 16));
    }

    #[test]
    fn a_switch_tells_the_thread_its_time_and_its_direction() {
        let mut body = Vec::new();
        for number in [5u32, 6, 7, 8] {
            body.extend(number.to_le_bytes());
        }
        body.extend(1234u64.to_le_bytes());
        let switched = |out| Some(Record::Switched { pid: 7, tid: 8, time: 1234, out });
        assert_eq!(parse(SWITCH_CPU_WIDE, MISC_SWITCH_OUT, &body, LAYOUT), switched(true));
        assert_eq!(parse(SWITCH_CPU_WIDE, 0, &body, LAYOUT), switched(false));
    }

    #[test]
    fn a_record_cut_anywhere_gives_nothing_and_never_panics() {
        let body = body();
        for length in 0..body.len() {
            assert_eq!(parse(SAMPLE, 0, &body[..length], LAYOUT), None, "cut at {length}");
        }
    }
}
