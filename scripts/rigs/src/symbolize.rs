//! Measures the symbolizer: `symbolize FILE COUNT` resolves COUNT addresses spread evenly over FILE's `.text`, cold
//! and warm, then turns 45,000 samples of stacks made of them into a profile, and prints times and peak memory. A
//! third argument prints that many addresses with their full and short names.

use object::{Object, ObjectSection};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use wireprof::clock::Span;
use wireprof::profile::on_cpu_columns;
use wireprof::profile::short_name;
use wireprof::sample::{Address, Module, ModuleId, ModuleKind, RawSample, RawSamples, RawStack, RawThread};
use wireprof::symbol::{Options, Symbolizer, to_profile};

pub fn main(arguments: &[String]) -> anyhow::Result<()> {
    let mut arguments = arguments.iter();
    let path = std::path::Path::new(arguments.next().map_or("/proc/self/exe", String::as_str)).canonicalize()?;
    let count: u64 = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let print: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let bytes = std::fs::read(&path)?;
    let file = object::File::parse(&*bytes)?;
    let text = file.section_by_name(".text").ok_or_else(|| anyhow::anyhow!("{}: no .text", path.display()))?;
    let (start, size) = text.file_range().ok_or_else(|| anyhow::anyhow!("{}: .text has no bytes", path.display()))?;
    let at = |i| Address { module: Some(ModuleId(0)), at: start + i * (size / count).max(1) };
    let addresses: Vec<Address> = (0..count).map(at).filter(|a| a.at < start + size).collect();
    let module = Module {
        kind: ModuleKind::File,
        inode: std::fs::metadata(&path)?.ino(),
        path,
        pid: 0,
        mapping: (0, 0),
        deleted: false,
        build_id: file.build_id()?.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    let mut symbolizer = Symbolizer::new(Options::default());
    for state in ["cold", "warm"] {
        let began = Instant::now();
        let found = symbolizer.resolve(std::slice::from_ref(&module), &addresses);
        let took = began.elapsed();
        let named = found.iter().filter(|symbols| symbolizer.frame(symbols[0]).miss.is_none()).count();
        let frames: usize = found.iter().map(|symbols| symbols.len()).sum();
        println!("{state}: {} addresses in {took:?}, {named} named, {frames} frames", found.len());
        let shown = found.iter().zip(&addresses).step_by(found.len() / print.max(1));
        for (symbols, address) in shown.take(if state == "warm" { print } else { 0 }) {
            println!("{:#x}", address.at);
            for &symbol in symbols.iter() {
                let frame = symbolizer.frame(symbol);
                println!(
                    "  {} {}\n      -> {}",
                    if frame.inlined { "|" } else { "=" },
                    frame.name,
                    short_name(&frame.name)
                );
            }
        }
    }
    let raw = samples(module, &addresses);
    for state in ["first", "second"] {
        let began = Instant::now();
        let (profile, report) = to_profile(&raw, &mut symbolizer, Span::new(0, 45_000), on_cpu_columns());
        let (took, share) = (began.elapsed(), report.share().unwrap_or(0.0));
        println!(
            "{state} window: {} samples, {} nodes in {took:?}, {share:.4} named",
            profile.samples.len(),
            profile.nodes.len()
        );
    }
    println!("{} distinct frames", symbolizer.frames().len());
    symbolizer.notes().iter().for_each(|note| println!("{note}"));
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon"))
        .for_each(|line| println!("{line}"));
    Ok(())
}

/// 45,000 samples of 15,000 stacks of 40 addresses, of which the 20 nearest the root are of 100 kinds.
fn samples(module: Module, addresses: &[Address]) -> RawSamples {
    let pick = |i: usize| addresses[i.wrapping_mul(2_654_435_761) % addresses.len()];
    let stack = |s: usize| {
        let leaves = (0..20).map(|depth| pick(s * 20 + depth));
        let roots = (0..20).map(|depth| pick(1_000_000 + s % 100 * 20 + depth));
        RawStack { addresses: leaves.chain(roots).collect(), incomplete: None }
    };
    let thread = RawThread { process: "p".into(), pid: 1, thread: "t".into(), tid: 1 };
    let kernel = Module { kind: ModuleKind::Kernel, path: "[kernel]".into(), ..module.clone() };
    let mut raw = RawSamples { modules: vec![module, kernel], threads: vec![thread], ..RawSamples::default() };
    raw.stacks = (0..15_000).map(stack).collect();
    for (i, stack) in raw.stacks.iter_mut().enumerate().step_by(3) {
        let at = 0xffff_ffff_8100_0000 + (i as u64 % 5_000) * 1_024;
        stack.addresses.insert(0, Address { module: Some(ModuleId(1)), at });
    }
    raw.samples = (0..45_000)
        .map(|i| RawSample { at: i, thread: 0, stack: (i % 15_000) as u32, weight: 1_003_009, late: false })
        .collect();
    raw
}
