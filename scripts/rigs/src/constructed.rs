//! Writes two large runs to compare: `constructed DIRECTORY LEVELS REPLICATES STACKS`. Each has LEVELS levels of
//! REPLICATES windows, each window a profile of STACKS stacks of 30 frames, one sample or several a stack; `after`
//! costs more under one function.

#[path = "../../../tests/it/build/mod.rs"]
pub(crate) mod build;

use build::{frame, run, window};
use std::path::Path;
use wireprof::profile::{Builder, FrameId, Labels, Profile, on_cpu_columns};
use wireprof::run::{Store, WindowId};

/// Different functions, and frames in a stack.
const FUNCTIONS: usize = 5_000;
const DEEP: usize = 30;
/// Frames nearest the root, which many stacks share.
const SHARED: usize = 12;
/// Seconds and queries of a window.
const SECONDS: u64 = 10;
const QUERIES: u64 = 100_000;

pub fn main(arguments: &[String]) -> anyhow::Result<()> {
    let [directory, levels, replicates, stacks] = arguments else {
        anyhow::bail!("constructed DIRECTORY LEVELS REPLICATES STACKS");
    };
    let (levels, replicates, stacks): (usize, usize, usize) = (levels.parse()?, replicates.parse()?, stacks.parse()?);
    std::thread::scope(|threads| {
        let write =
            |name, more| threads.spawn(move || write(Path::new(directory), name, (levels, replicates, stacks), more));
        let both = [write("before", 0), write("after", 1)];
        both.into_iter().try_for_each(|thread| thread.join().expect("writing panicked"))
    })
}

/// A run of this name; stacks through the first function have `more` samples.
fn write(directory: &Path, name: &str, of: (usize, usize, usize), more: i64) -> anyhow::Result<()> {
    let (levels, replicates, stacks) = of;
    let mut manifest = run(Vec::new()).manifest;
    manifest.id = name.into();
    manifest.levels = (1..=levels).collect();
    manifest.order =
        (1..=levels).flat_map(|level| (1..=replicates).map(move |replicate| WindowId { level, replicate })).collect();
    let ids = manifest.order.clone();
    let mut writer = Store::new(directory).create(manifest)?;
    for WindowId { level, replicate } in ids {
        let made = profile(stacks, level * 1_000 + replicate, more);
        writer.write_window(&window(level, replicate, SECONDS, QUERIES, Some(made)), None)?;
    }
    writer.finish("complete")
}

fn profile(stacks: usize, seed: usize, more: i64) -> Profile {
    let mut builder = Builder::new(on_cpu_columns());
    let labels = builder.labels(Labels { process: "server".into(), complete: Some(true), ..Labels::default() });
    let named = |i: usize| frame(&format!("server::session::layer_{}::Handler<T>::function_number_{i}", i % 60));
    let functions: Vec<FrameId> = (0..FUNCTIONS).map(|i| builder.frame(named(i))).collect();
    for s in 0..stacks {
        let shared = (0..SHARED).map(|depth| depth + (s % 64) / (1 << (SHARED - depth).min(6)) * SHARED);
        let own = (SHARED..DEEP).map(|depth| (s >> ((DEEP - depth) / 2)).wrapping_mul(2_654_435_761 + depth));
        let path: Vec<FrameId> = shared.chain(own).map(|i| functions[i % FUNCTIONS]).collect();
        let stack = builder.stack(path.iter().copied());
        let more = if path.contains(&functions[100]) { more } else { 0 };
        let count = 1 + ((s ^ seed).wrapping_mul(0x9e37_79b9) >> 7) as i64 % 3 + more;
        let at = (s as u64 * 7_919 % 10_000) * SECONDS * 100_000;
        builder.sample(stack, labels, Some(at), vec![count, count * 1_000_000]);
    }
    builder.finish()
}
