//! Symbols of a Rust program (this one), the kernel and the vdso, and raw samples turned into a profile.

use crate::skip::skip;
use object::{Object, ObjectSection, ObjectSymbol};
use std::path::{Path, PathBuf};
use wireprof::clock::Span;
use wireprof::profile::short_name;
use wireprof::profile::{Frame, Miss, Profile, Space, on_cpu_columns};
use wireprof::sample::{Address, Incomplete, Module, ModuleId, ModuleKind, RawSample, RawSamples, RawStack, RawThread};
use wireprof::symbol::{Options, Symbolizer, to_profile};

/// Nothing is kept from one test to the next.
fn options() -> Options {
    Options { cache: None, ..Options::default() }
}

#[inline(always)]
fn inlined_part(n: u64) -> u64 {
    std::hint::black_box(n).wrapping_mul(std::hint::black_box(3))
}

#[inline(never)]
fn outlined_whole(n: u64) -> u64 {
    inlined_part(n) + std::hint::black_box(1)
}

#[inline(never)]
async fn answers_slowly(n: u64) -> u64 {
    std::future::ready(()).await;
    outlined_whole(n) + std::hint::black_box(2)
}

fn module(kind: ModuleKind, path: &str) -> Module {
    let path = PathBuf::from(path);
    Module { kind, path, pid: std::process::id(), mapping: (0, 0), inode: 0, deleted: false, build_id: None }
}

fn this_program() -> Module {
    let path = std::env::current_exe().unwrap();
    module(ModuleKind::File, path.to_str().unwrap())
}

fn frames(symbolizer: &mut Symbolizer, module: &Module, at: u64) -> Vec<Frame> {
    let found = symbolizer.resolve(std::slice::from_ref(module), &[Address { module: Some(ModuleId(0)), at }]);
    found[0].iter().map(|&symbol| symbolizer.frame(symbol).clone()).collect()
}

/// File offsets of the functions of this program whose mangled names contain all of `parts`.
fn offsets(parts: &[&str]) -> Vec<std::ops::Range<u64>> {
    let bytes = std::fs::read(this_program().path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let text = file.section_by_name(".text").unwrap();
    let start = text.file_range().unwrap().0;
    let symbols = file.symbols().filter(|symbol| {
        let name = symbol.name().unwrap_or("");
        symbol.size() > 0
            && symbol.section_index() == Some(text.index())
            && parts.iter().all(|part| name.contains(part))
    });
    symbols
        .map(|symbol| {
            let from = start + (symbol.address() - text.address());
            from..from + symbol.size()
        })
        .collect()
}

#[test]
fn inlined_rust_functions_are_told_apart_from_the_function_they_are_in() {
    assert_eq!(outlined_whole(2), 7);
    let mut symbolizer = Symbolizer::new(options());
    let module = this_program();
    let [range] = &offsets(&["outlined_whole"])[..] else { panic!("one function") };
    let mut inlined = 0;
    for at in range.clone() {
        let frames = frames(&mut symbolizer, &module, at);
        let outermost = frames.last().unwrap();
        assert_eq!((outermost.name.as_str(), outermost.inlined), ("it::symbol::outlined_whole", false));
        assert!(outermost.file.ends_with("tests/it/symbol.rs"), "{}", outermost.file);
        inlined +=
            usize::from(frames.iter().any(|frame| frame.inlined && short_name(&frame.name).ends_with("inlined_part")));
    }
    assert!(inlined > 0 && inlined < (range.end - range.start) as usize, "{inlined} of {range:?}");
}

#[test]
fn forgetting_what_was_parsed_changes_no_frame() {
    let module = this_program();
    let code = offsets(&[]);
    let code = code.iter().step_by(code.len() / 2_000).map(|function| (function.start + function.end) / 2);
    let addresses: Vec<Address> = code.map(|at| Address { module: Some(ModuleId(0)), at }).collect();
    let frames = |most_parsed, threads| -> Vec<Vec<Frame>> {
        let mut symbolizer = Symbolizer::new(Options { most_parsed, threads, ..options() });
        let found = symbolizer.resolve(std::slice::from_ref(&module), &addresses);
        found.iter().map(|symbols| symbols.iter().map(|&s| symbolizer.frame(s).clone()).collect()).collect()
    };
    let whole = frames(u64::MAX, 1);
    assert!(whole.iter().filter(|frames| frames.len() > 1).count() > 100);
    assert_eq!(frames(1 << 20, 1), whole);
    assert_eq!(frames(1 << 20, 3), whole);
}

#[test]
fn the_body_of_an_async_function_has_the_function_as_its_short_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Behind a pointer its body is a function of its own, whatever the optimizer would inline.
    let boxed: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(answers_slowly(2));
    assert_eq!(runtime.block_on(std::hint::black_box(boxed)), 9);
    let mut symbolizer = Symbolizer::new(options());
    let mut bodies = 0;
    for range in offsets(&["answers_slowly", "closure"]) {
        let frames = frames(&mut symbolizer, &this_program(), range.start);
        let name = &frames.last().unwrap().name;
        // Others carry the function as an argument only: what drops it, what runs it.
        if name.starts_with("it::symbol::") {
            assert_eq!(short_name(name), "it::symbol::answers_slowly", "{name}");
            bodies += 1;
        }
    }
    assert_eq!(bodies, 1);
}

#[test]
fn kernel_functions_are_named_with_their_module() {
    let table = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let line = table.lines().find(|line| line.ends_with(" T tcp_sendmsg"));
    let at = line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok()).filter(|&at| at != 0);
    let Some(at) = at else { return skip("kernel symbols are hidden here") };
    let mut symbolizer = Symbolizer::new(options());
    let frames = frames(&mut symbolizer, &module(ModuleKind::Kernel, "[kernel]"), at + 8);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].name.as_str(), frames[0].module.as_str()), ("tcp_sendmsg", "[kernel]"));
    assert_eq!((frames[0].space, frames[0].miss), (Space::Kernel, None));
}

#[test]
fn hidden_kernel_symbols_are_misses_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let kallsyms = folder.path().join("kallsyms");
    std::fs::write(&kallsyms, "0000000000000000 T tcp_sendmsg\n").unwrap();
    let mut symbolizer = Symbolizer::new(Options { kallsyms, ..options() });
    let kernel = module(ModuleKind::Kernel, "[kernel]");
    for at in [0xffff_ffff_8100_0000, 0xffff_ffff_8100_0008] {
        let frames = frames(&mut symbolizer, &kernel, at);
        assert_eq!((frames[0].name.clone(), frames[0].miss), (format!("[kernel]+{at:#x}"), Some(Miss::KernelHidden)));
    }
    assert!(symbolizer.notes().len() == 1 && symbolizer.notes()[0].contains("kptr_restrict"));
}

#[test]
fn a_program_of_the_observers_is_on_the_stack_that_a_timer_saw_and_not_on_the_one_that_it_took_itself() {
    let folder = tempfile::tempdir().unwrap();
    let kallsyms = folder.path().join("kallsyms");
    let table = "ffffffff81000000 T _text\nffffffff81000100 t __schedule\n\
        ffffffffc0001000 t bpf_prog_8f4fea0e22d57235_on_switch\t[bpf]\n\
        ffffffffc0002000 t bpf_prog_9fc0875519e91a08_take_stack\t[bpf]\n";
    std::fs::write(&kallsyms, table).unwrap();
    let mut symbolizer = Symbolizer::new(Options { kallsyms, ..options() });
    let addresses = [0xffff_ffff_c000_2010, 0xffff_ffff_c000_1010, 0xffff_ffff_8100_0110];
    let sample = |at, stack, late| RawSample { at, thread: 0, stack, weight: 1, late };
    let addresses = |skipped: u64| addresses.map(|at| Address { module: Some(ModuleId(0)), at: at + skipped }).to_vec();
    let raw = RawSamples {
        modules: vec![module(ModuleKind::Kernel, "[kernel]")],
        stacks: [0, 4].map(|skipped| RawStack { addresses: addresses(skipped), incomplete: None }).to_vec(),
        samples: vec![sample(10, 0, false), sample(20, 1, true)],
        ..raw()
    };
    let (profile, _) = to_profile(&raw, &mut symbolizer, Span::new(0, 50), on_cpu_columns());
    let stacks: Vec<String> = lines(&profile).into_iter().map(|line| line.split(' ').skip(2).collect()).collect();
    assert_eq!(stacks[0], "__schedule;[wireprofon_switch];[wireproftake_stack]@10[1,1]");
    assert_eq!(stacks[1], "__schedule@20[1,1]");
}

/// Our own vdso as the kernel maps it.
fn vdso() -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let (start, end) = maps.lines().find(|line| line.ends_with("[vdso]"))?.split(' ').next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let mut bytes = vec![0; (end - start) as usize];
    std::fs::File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

#[test]
fn vdso_functions_are_named_by_their_offset_in_the_image() {
    let Some(bytes) = vdso() else { return skip("no vdso to be read here") };
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("__vdso_clock_gettime")).unwrap();
    let at = symbol.address() - file.relative_address_base() + 1;
    let mut symbolizer = Symbolizer::new(options());
    let frames = frames(&mut symbolizer, &module(ModuleKind::Vdso, "[vdso]"), at);
    assert_eq!((frames[0].name.as_str(), frames[0].module.as_str()), ("__vdso_clock_gettime", "[vdso]"));
    assert_eq!((frames[0].space, frames[0].miss), (Space::Vdso, None));
}

#[test]
fn files_that_are_absent_or_no_programs_are_misses_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a program, but long enough to hold the header of one, or so it would seem").unwrap();
    let mut symbolizer = Symbolizer::new(options());
    let absent = module(ModuleKind::File, "/nonexistent/libgone.so");
    let frames_of_absent = frames(&mut symbolizer, &absent, 0x1234);
    assert_eq!(
        (frames_of_absent[0].name.as_str(), frames_of_absent[0].miss),
        ("libgone.so+0x1234", Some(Miss::FileUnreadable))
    );
    let damaged = frames(&mut symbolizer, &module(ModuleKind::File, text.to_str().unwrap()), 0x10);
    assert_eq!((damaged[0].name.as_str(), damaged[0].miss), ("notes.txt+0x10", Some(Miss::Malformed)));
    let notes = symbolizer.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("libgone.so") && note.contains("root")));
    assert!(notes.iter().any(|note| note.contains("notes.txt")));
}

/// Samples at 10, 20, .. ns of four stacks: named, cut, in no mapping, without any frame.
fn raw() -> RawSamples {
    let named = offsets(&["outlined_whole"])[0].start;
    let thread = |thread: &str, tid| RawThread { process: "server".into(), pid: 7, thread: thread.into(), tid };
    let address = |module: Option<u32>, at| Address { module: module.map(ModuleId), at };
    let stack = |addresses: Vec<Address>, incomplete| RawStack { addresses, incomplete };
    let sample = |at, thread, stack| RawSample { at, thread, stack, weight: 1_000 + at, late: false };
    RawSamples {
        named: Default::default(),
        on_cpu: None,
        process_of: Default::default(),
        off_cpu: None,
        span: Some(Span::new(0, 100)),
        modules: vec![this_program(), module(ModuleKind::Anonymous, "")],
        threads: vec![thread("main", 7), thread("worker", 8)],
        stacks: vec![
            stack(vec![address(Some(0), named), address(Some(1), 0xabc)], None),
            stack(vec![address(Some(0), named)], Some(Incomplete::CopyTooShort)),
            stack(vec![address(None, 0x10)], None),
            stack(vec![], Some(Incomplete::NoRegisters)),
        ],
        samples: vec![sample(10, 0, 0), sample(20, 0, 1), sample(30, 1, 2), sample(40, 1, 3), sample(50, 1, 0)],
    }
}

fn lines(profile: &Profile) -> Vec<String> {
    let line = |sample: &wireprof::profile::Sample| {
        let names: Vec<_> = profile
            .path(sample.stack)
            .iter()
            .map(|id| &profile.frames[id.index()])
            .filter(|f| !f.inlined)
            .map(|f| short_name(&f.name))
            .collect();
        let labels = &profile.labels[sample.labels.index()];
        let whole = if labels.complete == Some(true) { "whole" } else { "cut" };
        format!(
            "{}/{} {whole} {} @{} {:?}",
            labels.process,
            labels.thread,
            names.join(";"),
            sample.at.unwrap(),
            sample.values
        )
    };
    profile.samples.iter().map(line).collect()
}

#[test]
fn a_window_keeps_its_samples_with_their_time_labels_and_whole_weight() {
    let mut symbolizer = Symbolizer::new(options());
    let (profile, report) = to_profile(&raw(), &mut symbolizer, Span::new(10, 50), on_cpu_columns());
    assert_eq!(profile.check(), Ok(()));
    assert_eq!(
        lines(&profile),
        [
            "server/main whole [anonymous]+0xabc;it::symbol::outlined_whole @0 [1, 1010]",
            "server/main cut [stack cut: copy too short];it::symbol::outlined_whole @10 [1, 1020]",
            "server/worker whole [unmapped]+0x10 @20 [1, 1030]",
            "server/worker cut [stack cut: no registers] @30 [1, 1040]",
        ]
    );
    assert_eq!((report.weight, report.named), (4_100, 2_030));
    assert_eq!(
        report.misses(),
        [("no mapping in [no stack]".to_owned(), 1), ("no mapping in [unmapped]".to_owned(), 1)]
    );
    assert_eq!(report.share(), Some(2_030.0 / 4_100.0));
    assert!(profile.labels.iter().all(|labels| labels.state == "on-cpu" && labels.pid == 7));
}

#[test]
fn an_empty_window_is_an_empty_profile_and_its_share_is_not_a_number_made_up() {
    let mut symbolizer = Symbolizer::new(options());
    let (profile, report) = to_profile(&raw(), &mut symbolizer, Span::new(60, 70), on_cpu_columns());
    assert!(profile.samples.is_empty() && profile.check().is_ok());
    assert_eq!(report.share(), None);
    assert!(symbolizer.frames().is_empty(), "nothing outside the window is looked up");
}

#[test]
fn markers_are_no_code() {
    let mut symbolizer = Symbolizer::new(options());
    let (profile, _) = to_profile(&raw(), &mut symbolizer, Span::new(20, 21), on_cpu_columns());
    let root = &profile.frames[profile.path(profile.samples[0].stack)[0].index()];
    assert_eq!((root.space, root.module.as_str(), root.miss), (Space::Marker, "", None));
    assert!(Path::new(&profile.frames[1].file).ends_with("tests/it/symbol.rs"));
}
