//! Reads a stored run and prints what each level did: `cargo run --release --example read_run -- RUN` (a directory of
//! `runs/`). A figure that was not measured is said to be so, with the reason that the run keeps.

use std::path::Path;
use wireprof::run::{Parts, Store};

fn main() -> anyhow::Result<()> {
    let run = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: read_run RUN"))?;
    // Profiles are the largest part; they are left out where nobody looks at them.
    let run = Store::new(Path::new("runs")).load_parts(&run, Parts::NONE)?;
    println!("{}, {}, preset {}", run.manifest.id, run.manifest.tool, run.manifest.preset);
    for window in &run.windows {
        let seconds = window.facts.span.nanos() as f64 / 1e9;
        print!("level {}, replicate {}: ", window.id().level, window.id().replicate);
        match window.counted() {
            true => println!("{:.0} queries/s over {seconds:.1} s", window.load.completed as f64 / seconds),
            false => println!("its queries were not counted"),
        }
        for missing in &window.facts.missing {
            println!("  not measured: {}: {}", missing.what, missing.why);
        }
    }
    Ok(())
}
