//! Measures how well a differential flamegraph points at a change that is known: `coloured BEFORE AFTER PATTERN`, two
//! stored runs (directories) and the functions that were changed. Each sample counts once, for the frame that it ends
//! in. Exits with 1 where the largest difference, or more than 5 % of the coloured weight, lies off the stacks
//! through the functions.

use regex::Regex;
use std::path::Path;
use std::process::ExitCode;
use wireprof::analyze::compare::difference::{Coloured, Options, Side, trees};
use wireprof::run::{Parts, Store};

/// Share of the coloured weight that may lie elsewhere.
const MOST: f64 = 0.05;

pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [before, after, pattern] = arguments else { anyhow::bail!("coloured BEFORE AFTER PATTERN") };
    let pattern = Regex::new(pattern)?;
    let options = Options { trees: true, ..Options::default() };
    let side = |run: &String| -> anyhow::Result<Side> {
        let parts = Parts { metrics: false, ..Parts::ALL };
        Ok(Side::of(&Store::new(Path::new(".")).load_parts(run, parts)?, &options))
    };
    let (before, after) = (side(before)?, side(after)?);
    let levels = trees(&before, &after, &options);
    let mut bad = levels.is_empty();
    for level in levels {
        let Coloured { on, off } = level.coloured(|frame| pattern.is_match(&frame.name));
        let share = off.weight / (on.weight + off.weight);
        println!(
            "level {}, {} a query: on the stacks {} frames coloured with {:.1}, the largest {:.1}; off them {} with \
                {:.1}, the largest {:.1}: \
             {:.2} % off",
            level.level,
            level.column.unit,
            on.nodes,
            on.weight,
            on.largest,
            off.nodes,
            off.weight,
            off.largest,
            100.0 * share
        );
        bad |= share.is_nan() || share > MOST || off.largest > on.largest;
    }
    Ok(ExitCode::from(u8::from(bad)))
}
