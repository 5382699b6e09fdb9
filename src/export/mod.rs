//! A stored run in the formats of other tools' viewers. Pure: from a run to bytes; who writes them is `cli`. Invariant:
//! each format's totals are the run's own; what a format cannot hold is refused with the reason, never left out in
//! silence.

mod axis;
mod chrome;
mod continuous;
mod firefox;
mod folded;
mod rows;
mod series;
mod speedscope;
mod stacks;

pub use chrome::chrome;
pub use continuous::{WindowProfile, otlp, pyroscope, window_profiles};
pub use firefox::firefox;
pub use rows::{begins as begins_as_rows, rows};

use crate::analyze::cost::carrier_names::Naming;
use crate::run::{Run, pprof};
use anyhow::{Result, bail};
use stacks::{Stacks, stacks};

/// The formats of stacks, the first two of which hold one level a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackFormat {
    /// `thread;frame;frame weight`.
    Folded {
        /// Functions have their full names, of kilobytes perhaps, in each line.
        full_names: bool,
    },
    /// profile.proto, gzipped.
    Pprof,
    /// The JSON of speedscope.
    Speedscope,
}

/// Which stacks, by what they weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Samples on a CPU.
    Cpu,
    /// Time that threads were off the CPUs, blocked and runnable.
    OffCpu,
    /// Time that queries were in the server's hands, by what carried them.
    Hands,
}

/// One file.
pub struct Exported {
    /// The only level in it; `None`: all of the run's.
    pub level: Option<usize>,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The stacks of a run.
///
/// # Errors
/// The run has no such stacks.
pub fn export_stacks(run: &Run, format: StackFormat, what: What, naming: &Naming) -> Result<Vec<Exported>> {
    let all = stacks(run, what, naming);
    if all.is_empty() {
        bail!("run {} has no stacks of this kind: {}", run.manifest.id, why_none(run, what));
    }
    if format == StackFormat::Speedscope {
        let name = format!("wireprof run {}", run.manifest.id);
        return Ok(vec![Exported { level: None, bytes: speedscope::speedscope(&name, &run.manifest.tool, &all)? }]);
    }
    let levels = all.chunk_by(|a, b| a.level == b.level);
    let file = |of_level: &[Stacks]| {
        let bytes = match format {
            StackFormat::Folded { full_names } => folded::folded(of_level, full_names),
            _ => in_pprof(run, &of_level[0])?,
        };
        Ok(Exported { level: Some(of_level[0].level), bytes })
    };
    levels.map(file).collect()
}

/// All columns that are stored, so that blocked and runnable time are in one file.
fn in_pprof(run: &Run, stacks: &Stacks) -> Result<Vec<u8>> {
    let about = format!("wireprof run {}, level {}", run.manifest.id, stacks.level);
    pprof::encode_in_order(&stacks.profile, stacks.span, stacks.period, &[about])
}

fn why_none(run: &Run, what: What) -> String {
    let windows: Vec<_> = run.windows.iter().collect();
    match what {
        What::Cpu => "its windows were not sampled".into(),
        What::OffCpu => "its threads were not followed off CPU".into(),
        What::Hands => crate::analyze::cost::carried::why_not_followed(&windows),
    }
}
