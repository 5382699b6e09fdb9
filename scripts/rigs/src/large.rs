//! Measures a window of a large program from addresses to flamegraphs: `large FILE CACHE SAMPLES ADDRESSES PRINT`.
//! SAMPLES samples of stacks of 20 out of ADDRESSES addresses, spread evenly over FILE's `.text`, are named, counted
//! and drawn, as a sweep does it; CACHE is where the symbolizer keeps what it resolved (`-`: nowhere). Prints
//! seconds, peak memory and how many stacks are as the program of `scripts/benches/symbols` was made; then PRINT
//! addresses, as the linker placed them, with their functions.

use std::path::{Path, PathBuf};
use std::time::Instant;
use wireprof::analyze::cost::view::{LevelView, Per, Provenance, Source};
use wireprof::clock::Span;
use wireprof::elf::Image;
use wireprof::profile::{Frame, on_cpu_columns};
use wireprof::render::flamegraph::{Caption, draw};
use wireprof::sample::{Address, Module, ModuleId, ModuleKind, RawSample, RawSamples, RawStack, RawThread};
use wireprof::symbol::{Cache, Options, Symbolizer, to_profile};

/// Addresses in a stack.
const DEEP: usize = 20;

pub fn main(arguments: &[String]) -> anyhow::Result<()> {
    let [file, cache, samples, addresses, print] = arguments else {
        anyhow::bail!("large FILE CACHE SAMPLES ADDRESSES PRINT");
    };
    let file = PathBuf::from(file).canonicalize()?;
    let text = Text::of(&file)?;
    let raw = window(text.module, samples.parse()?, &text.range, addresses.parse()?);

    let began = Instant::now();
    let mut symbolizer = Symbolizer::new(options(cache));
    let (profile, report) = to_profile(&raw, &mut symbolizer, Span::new(0, u64::MAX), on_cpu_columns());
    let named = began.elapsed().as_secs_f64();
    let view = LevelView {
        source: Source::OnCpu,
        per: Per::Query,
        level: 64,
        windows: 1,
        profile,
        column: 1,
        queries: 10_000.0,
        seconds: 15.0,
        throughput: 667.0,
        outside: None,
        folded: None,
        provenance: Provenance { samples: Some(raw.samples.len() as u64), ..Provenance::default() },
    };
    let svg = draw(&view, &Caption::default())?.svg;
    let all = began.elapsed().as_secs_f64();

    let mut distinct: Vec<Address> = raw.stacks.iter().flat_map(|stack| stack.addresses.iter().copied()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let found = symbolizer.resolve(&raw.modules, &distinct);
    let stacks: Vec<Vec<&Frame>> =
        found.iter().map(|symbols| symbols.iter().map(|&symbol| symbolizer.frame(symbol)).collect()).collect();
    let right = stacks.iter().filter(|stack| is_as_made(stack)).count();
    let frames: usize = stacks.iter().map(Vec::len).sum();
    println!(
        "seconds {all:.2} (names {named:.2}) peak_mb {:.0} (own {:.0}) addresses {} frames {frames} as_made {right} \
            named {:.4} svg_mb {:.1}",
        status("VmHWM")?,
        status("RssAnon")?,
        distinct.len(),
        report.share().unwrap_or(0.0),
        svg.len() as f64 / 1e6,
    );
    symbolizer.notes().iter().for_each(|note| eprintln!("{note}"));
    let print: usize = print.parse()?;
    for (address, stack) in distinct.iter().zip(&stacks).step_by(distinct.len() / print.max(1)).take(print) {
        let names: Vec<&str> = stack.iter().map(|frame| frame.name.as_str()).collect();
        println!("{:#x} {}", address.at + text.shift, names.join(" "));
    }
    Ok(())
}

fn options(cache: &str) -> Options {
    Options { cache: (cache != "-").then(|| Cache::at(Path::new(cache))), ..Options::default() }
}

/// A program's code.
struct Text {
    module: Module,
    /// Offsets in the file.
    range: std::ops::Range<u64>,
    /// What an offset lacks to the address that the linker gave it.
    shift: u64,
}

impl Text {
    fn of(path: &Path) -> anyhow::Result<Text> {
        use std::os::unix::fs::MetadataExt;
        let image = Image::open_path(path)?;
        let (address, range) = image.section(".text").ok_or_else(|| anyhow::anyhow!("{}: no .text", path.display()))?;
        let (start, end) = (range.start as u64, range.end as u64);
        let module = Module {
            kind: ModuleKind::File,
            path: path.into(),
            pid: 0,
            mapping: (0, 0),
            inode: std::fs::metadata(path)?.ino(),
            deleted: false,
            build_id: image.build_id(),
        };
        Ok(Text { module, range: start..end, shift: address.wrapping_sub(start) })
    }
}

/// A third as many stacks as samples, the ten nearest the root of 100 kinds.
fn window(module: Module, samples: usize, text: &std::ops::Range<u64>, addresses: usize) -> RawSamples {
    let step = ((text.end - text.start) / addresses as u64).max(1);
    let at = |i: usize| text.start + (i.wrapping_mul(2_654_435_761) % addresses) as u64 * step;
    let address = |i| Address { module: Some(ModuleId(0)), at: at(i) };
    let stack = |s: usize| {
        let leaves = (0..DEEP / 2).map(|depth| address(s * DEEP / 2 + depth));
        let roots = (0..DEEP / 2).map(|depth| address(1_000_000 + s % 100 * DEEP / 2 + depth));
        RawStack { addresses: leaves.chain(roots).collect(), incomplete: None }
    };
    let thread = RawThread { process: "p".into(), pid: 1, thread: "t".into(), tid: 1 };
    let sample =
        |i: usize| RawSample { at: i as u64, thread: 0, stack: (i / 3) as u32, weight: 1_003_009, late: false };
    RawSamples {
        modules: vec![module],
        threads: vec![thread],
        stacks: (0..samples.div_ceil(3)).map(stack).collect(),
        samples: (0..samples).map(sample).collect(),
        ..RawSamples::default()
    }
}

/// Whether these are a generated function and what is inlined into it: all of one stage of one unit, the layers one
/// after the other up to the outermost, and the function that they are in.
fn is_as_made(stack: &[&Frame]) -> bool {
    let Some((entry, layers)) = stack.split_last() else { return false };
    let Some((stage, _)) = entry.name.split_once("_entry") else { return false };
    let mut words = stage.split("_stage_");
    let (Some(unit), Some(stage)) = (words.next(), words.next()) else { return false };
    let depth: usize = unit.chars().last().and_then(|digit| digit.to_digit(10)).unwrap_or(0) as usize;
    let made = |frame: &Frame, layer: usize| {
        frame.inlined
            && frame.name.starts_with(&format!("{unit}_query_"))
            && frame.name.contains(&format!("_stage_{stage}_"))
            && frame.name.ends_with(&format!("_layer_{layer}"))
    };
    !entry.inlined
        && entry.file.ends_with(&format!("{unit}.c"))
        && layers.iter().rev().enumerate().all(|(at, frame)| at < depth && made(frame, depth - 1 - at))
}

/// A figure of this process in MB, from the kernel's kB.
fn status(name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes: f64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
