//! Measures the symbolizer: `symbolize FILE COUNT` resolves COUNT addresses spread evenly over FILE's `.text`, cold and
//! warm, and prints times, the share with names and with inlined functions, and peak memory.

use object::{Object, ObjectSection};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{Options, Symbolizer, short_name};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = std::path::PathBuf::from(arguments.next().unwrap_or_else(|| "/proc/self/exe".into())).canonicalize()?;
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
        for symbols in found.iter().step_by(found.len() / print.max(1)).take(if state == "warm" { print } else { 0 }) {
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
    println!("{} distinct frames", symbolizer.frames().len());
    symbolizer.notes().iter().for_each(|note| println!("{note}"));
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon"))
        .for_each(|line| println!("{line}"));
    Ok(())
}
