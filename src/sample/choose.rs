//! Which sampler a host permits: the kernel's program first, copies of the stack else. Invariant: whatever is not the
//! best there is stands in every report of what it took.

use super::ebpf::EbpfSampler;
use super::perf::{self, PerfSampler};
use super::unwind::Cache;
use super::{Options, Sampler};
use crate::target::{Forbidden, following_remedy};
use serde::{Deserialize, Serialize};

/// How stacks are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Unwinding {
    /// In the kernel where that is permitted, else over copies.
    #[default]
    Auto,
    /// In the kernel (eBPF), however deep they are.
    Kernel,
    /// Over copies of up to 64 KiB.
    Copy,
}

/// A sampler, and what is to be said beforehand.
pub struct Chosen {
    /// The sampler, with what it needs already open.
    pub sampler: Box<dyn Sampler>,
    /// What the user is told beforehand, such as smaller stack copies; empty where there is nothing.
    pub notes: Vec<String>,
}

/// Opens the best sampler of process `pid` that is permitted; all that can be refused is refused here, before any load.
///
/// # Errors
/// Where only the kernel's program was asked for ([`Unwinding::Kernel`]) and it cannot be loaded, or perf events are
/// refused with the smallest stack copies too.
pub fn choose(options: &Options, pid: u32) -> Result<Chosen, Forbidden> {
    let refused = match options.unwinding {
        Unwinding::Copy => "asked for".to_string(),
        Unwinding::Auto | Unwinding::Kernel => match EbpfSampler::open(options.clone(), Cache::default()) {
            Ok(sampler) => return Ok(Chosen { sampler: Box::new(sampler), notes: Vec::new() }),
            Err(error) if options.unwinding == Unwinding::Kernel => return Err(forbidden(&error)),
            Err(error) => format!("{error:#}"),
        },
    };
    let permitted = permitted(options, pid)?;
    let mut notes = Vec::new();
    if permitted.stack_bytes < options.stack_bytes {
        notes.push(format!(
            "stack copies of {} bytes instead of {}: larger ones need more locked memory than this user has; \
             `sudo sysctl kernel.perf_event_mlock_kb=65536` gives it",
            permitted.stack_bytes, options.stack_bytes
        ));
    }
    let reason = format!("stacks are followed over copies of at most 64 KiB, not in the kernel: {refused}");
    Ok(Chosen { sampler: Box::new(PerfSampler::new(permitted).because(reason)), notes })
}

fn forbidden(error: &anyhow::Error) -> Forbidden {
    Forbidden {
        what: "following stacks in the kernel".into(),
        cause: format!("{error:#}"),
        remedy: format!("{}; --unwind copy goes without", following_remedy()),
    }
}

/// Sizes of stack copies to fall back to, largest first: the rings of an unprivileged user are bounded by
/// kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK, and their size follows that of the copies.
const SMALLER_COPIES: [u64; 3] = [16_384, 8_192, 2_048];

/// The options, with smaller stack copies where only those are permitted. The events are opened and closed again: what
/// is not permitted is said before the load, not after it.
///
/// # Errors
/// Where the events are refused with the smallest stack copies too: what was said of the size asked for.
pub fn permitted(options: &Options, pid: u32) -> Result<Options, Forbidden> {
    let Err(refused) = perf::open(options, &[pid]) else { return Ok(options.clone()) };
    let smaller = SMALLER_COPIES.into_iter().filter(|bytes| *bytes < options.stack_bytes);
    let mut smaller = smaller.map(|stack_bytes| Options { stack_bytes, ..options.clone() });
    smaller.find(|options| perf::open(options, &[pid]).is_ok()).ok_or(refused)
}
