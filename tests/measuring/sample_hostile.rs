//! What a target can do to its sampler costs the frames concerned and nothing else: damaged files among the mapped
//! ones, absurd call-frame information, files replaced and libraries unloaded under way, the sampler itself killed.
//! Real processes, both ways of following stacks; skipped, with the reason printed, where the host permits no
//! sampling.

use crate::sample::ways;
use crate::skip::skip;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::sample::Options;
use wireprof::sample::{Incomplete, RawSamples, RawStack, Recording, Sampled, SamplingReport, Unwinding, choose};

/// Compiles a C program or library.
fn compile(source: &str, flags: &[&str], into: PathBuf) -> PathBuf {
    let file = into.with_extension("c");
    std::fs::write(&file, source).unwrap();
    let usual = ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"];
    let status = Command::new("cc").args(usual).args(flags).arg("-o").arg(&into).arg(&file).status();
    assert!(status.expect("cc is installed").success());
    into
}

struct Running(Child);

impl Running {
    fn start(program: &Path, arguments: &[&Path]) -> Running {
        Running(Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Samples a program for a while, something being done meanwhile.
fn sample(running: &Running, way: Unwinding, meanwhile: impl FnOnce()) -> (RawSamples, SamplingReport) {
    std::thread::sleep(Duration::from_millis(100));
    let options = Options { unwinding: way, ..Options::default() };
    let mut sampler = choose(&options, running.0.id()).unwrap().sampler;
    let recording: Box<dyn Recording> = sampler.start(&[Sampled::family(running.0.id())]).unwrap();
    meanwhile();
    recording.stop().unwrap()
}

fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

/// Stacks that were walked, once a sample.
fn walked(raw: &RawSamples) -> impl Iterator<Item = &RawStack> {
    raw.samples.iter().filter(|sample| !sample.late).map(|sample| &raw.stacks[sample.stack as usize])
}

fn share(stacks: &[&RawStack], of: impl Fn(&RawStack) -> bool) -> f64 {
    stacks.iter().filter(|stack| of(stack)).count() as f64 / stacks.len() as f64
}

fn is_complete(stack: &RawStack) -> bool {
    stack.incomplete.is_none()
}

/// Whether any address lies in the file of this name.
fn goes_through(raw: &RawSamples, stack: &RawStack, name: &str) -> bool {
    let in_file = |module: wireprof::sample::ModuleId| raw.modules[module.0 as usize].path.ends_with(name);
    stack.addresses.iter().any(|address| address.module.is_some_and(in_file))
}

fn reasons(stacks: &[&RawStack]) -> Vec<Incomplete> {
    let mut reasons: Vec<_> = stacks.iter().filter_map(|stack| stack.incomplete).collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// What all programs here begin with: work that a clock bounds, ten frames deep.
const WORK: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <time.h>
    #include <unistd.h>
    volatile unsigned long sink;
    static void burn(double s) { struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);
        do { for (int i = 0; i < 1000; i++) sink++; clock_gettime(CLOCK_MONOTONIC, &b); }
        while ((b.tv_sec - a.tv_sec) + 1e-9 * (b.tv_nsec - a.tv_nsec) < s); }
    __attribute__((noinline)) void good(int n) { if (n) good(n - 1); else burn(0.05); sink++; }
"#;

/// `program GARBAGE CUT`: maps both executable, works, and calls back through the code that the first begins with.
const MAPS_DAMAGED: &str = r#"
    static void *mapped(const char *path) { int fd = open(path, O_RDONLY);
        void *at = mmap(0, 65536, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) abort(); return at; }
    static void back(void) { burn(0.02); sink++; }
    int main(int count, char **arguments) { (void)count; void (*through)(void (*)(void)) = mapped(arguments[1]);
        mapped(arguments[2]); for (;;) { good(10); through(back); } }
"#;
/// sub $8,%rsp; call *%rdi; add $8,%rsp; ret
const CALLS_BACK: [u8; 11] = [0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3];

#[test]
fn damaged_files_mapped_beside_good_ones_cost_the_stacks_through_them_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&format!("{WORK}{MAPS_DAMAGED}"), &[], folder.path().join("program"));
    let (garbage, cut) = (folder.path().join("garbage"), folder.path().join("cut"));
    std::fs::write(&garbage, CALLS_BACK.iter().copied().cycle().take(70_000).collect::<Vec<_>>()).unwrap();
    let whole = std::fs::read(&program).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for way in ways() {
        let (raw, report) = sample(&Running::start(&program, &[&garbage, &cut]), way, || pause(1.0));
        let (through, others): (Vec<_>, Vec<_>) = walked(&raw).partition(|stack| goes_through(&raw, stack, "garbage"));
        assert!(through.len() > 50 && others.len() > 200, "{way:?}: {} {}", through.len(), others.len());
        assert!(share(&through, is_complete) == 0.0, "{way:?}: nothing says how to leave it: {:?}", reasons(&through));
        assert!(share(&others, is_complete) >= 0.995, "{way:?}: {:?} {report:?}", reasons(&others));
        assert!(report.fallbacks.iter().any(|note| note.contains("garbage: not a usable")), "{:?}", report.fallbacks);
    }
}

/// Functions whose call-frame information is absurd; each works for a while by a call of `burn` or a loop of its own.
const ABSURD: &str = r#"
    #define FUNCTION(name, before, cfi, body, after) \
        __asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n.cfi_startproc\n" \
                before "\n" cfi "\n" "mov $20000000,%ecx\n" body "1: dec %ecx\njnz 1b\n" after "\nret\n" \
                ".cfi_endproc\n.size " #name ",.-" #name "\n"); \
        void name(void);
    FUNCTION(too_far, "", ".cfi_def_cfa rsp, 0x7ffffff0", "", "")
    FUNCTION(stands_still, "", ".cfi_def_cfa rsp, 0", "", "")
    FUNCTION(strange_register, "", ".cfi_def_cfa xmm3, 8", "", "")
    /* The stack is filled with an address whose rule is: the caller is 8 bytes up. */
    FUNCTION(never_ends, "sub $65536,%rsp\nlea 2f(%rip),%rax\n2: mov %rsp,%rdi\n"
        "mov %rcx,%rdx\nmov $8192,%ecx\ncld\nrep stosq\n",
        ".cfi_def_cfa rsp, 8", "", "add $65536,%rsp")
    /* DW_CFA_def_cfa_expression: skip -3, which leads back to itself; and a division by zero. */
    FUNCTION(loops, "", ".cfi_escape 0x0f, 3, 0x2f, 0xfd, 0xff", "", "")
    FUNCTION(divides, "", ".cfi_escape 0x0f, 3, 0x31, 0x30, 0x1b", "", "")
    /* DW_CFA_restore_state without a state: the program of the description breaks off. */
    FUNCTION(breaks_off, "", ".cfi_escape 0x0b", "", "")
    int main(void) { for (;;) {
        good(10); too_far(); stands_still(); strange_register(); never_ends(); loops(); divides(); breaks_off(); } }
"#;

#[test]
fn absurd_call_frame_information_ends_the_walk_with_a_reason_and_costs_no_other_stack() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&format!("{WORK}{ABSURD}"), &[], folder.path().join("program"));
    for way in ways() {
        let running = Running::start(&program, &[]);
        let (ended, waiting) = std::sync::mpsc::channel();
        let sampling = std::thread::spawn(move || {
            let result = sample(&running, way, || pause(1.5));
            let _ = ended.send(());
            result
        });
        waiting.recv_timeout(Duration::from_secs(20)).expect("an expression that jumps back is not followed for ever");
        let (raw, report) = sampling.join().unwrap();
        let own = |stack: &&RawStack| {
            stack.addresses.iter().filter(|a| a.module.is_some()).count() >= 12 && stack.addresses.len() < 40
        };
        let (good, others): (Vec<_>, Vec<_>) = walked(&raw).partition(own);
        assert!(good.len() > 150 && others.len() > 150, "{way:?}: {} {}", good.len(), others.len());
        assert!(share(&good, is_complete) >= 0.995, "{way:?}: {:?} {report:?}", reasons(&good));
        let reasons = reasons(&others);
        let wanted = [Incomplete::BadRead, Incomplete::UnsupportedRule, Incomplete::TooDeep];
        assert!(wanted.iter().all(|reason| reasons.contains(reason)), "{way:?}: {reasons:?}");
    }
}

/// `program LIBRARY`: works through the library for good.
const USES_LIBRARY: &str = r#"
    int main(int count, char **arguments) { (void)count;
        void *library = dlopen(arguments[1], RTLD_NOW);
        void (*deep)(int, void (*)(double)) = (void (*)(int, void (*)(double)))dlsym(library, "deep");
        for (;;) { good(5); deep(12, burn); } }
"#;
const LIBRARY: &str = r#"
    volatile unsigned long sink;
    PAD
    __attribute__((noinline)) void deep(int n, void (*f)(double)) { if (n) deep(n - 1, f); else f(0.03); sink++; }
"#;

fn library(folder: &Path, name: &str, pad: &str) -> PathBuf {
    compile(&LIBRARY.replace("PAD", pad), &["-shared", "-fPIC"], folder.join(name))
}

#[test]
fn files_replaced_under_a_running_process_are_read_as_they_are_mapped() {
    for way in ways() {
        let folder = tempfile::tempdir().unwrap();
        let program = compile(&format!("{WORK}{USES_LIBRARY}"), &[], folder.path().join("program"));
        let object = library(folder.path(), "library.so", "");
        let running = Running::start(&program, &[&object]);
        let replace = |path: &Path| {
            let other = path.with_extension("new");
            std::fs::write(&other, b"something else altogether").unwrap();
            std::fs::rename(&other, path).unwrap();
        };
        // The library before the sampler looks at all, the program while it samples.
        pause(0.2);
        replace(&object);
        let (raw, report) = sample(&running, way, || {
            pause(0.4);
            replace(&program);
            pause(0.6);
        });
        let stacks: Vec<_> = walked(&raw).collect();
        assert!(stacks.len() > 300, "{way:?}: {}", stacks.len());
        assert!(share(&stacks, is_complete) >= 0.999, "{way:?}: {:?} {report:?}", reasons(&stacks));
        assert!(share(&stacks, |stack| goes_through(&raw, stack, "library.so")) > 0.2, "{way:?}");
    }
}

/// `program A B`: works in the one library, unloads it, works in the other, and so on.
const RELOADS: &str = r#"
    int main(int count, char **arguments) { (void)count; for (int i = 0;; i++) {
        void *library = dlopen(arguments[1 + i / 4 % 2], RTLD_NOW);
        void (*deep)(int, void (*)(double)) = (void (*)(int, void (*)(double)))dlsym(library, "deep");
        for (int j = 0; j < 4; j++) deep(12, burn);
        dlclose(library); good(3); } }
"#;

#[test]
fn a_library_unloaded_for_another_at_the_same_addresses_leaves_complete_stacks_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&format!("{WORK}{RELOADS}"), &[], folder.path().join("program"));
    let first = library(folder.path(), "first.so", "");
    // Of the same size, with the same function elsewhere and in frames of another size.
    let other = "__attribute__((noinline)) long other(volatile char *c) { char room[200]; room[*c] = 1; sink += \
                 room[3]; return sink; }";
    let second = library(folder.path(), "second.so", other);
    for way in ways() {
        let (raw, report) = sample(&Running::start(&program, &[&first, &second]), way, || pause(3.0));
        let stacks: Vec<_> = walked(&raw).collect();
        assert!(share(&stacks, is_complete) >= 0.99, "{way:?}: {:?} {report:?}", reasons(&stacks));
        for name in ["first.so", "second.so"] {
            let through: Vec<_> = stacks.iter().copied().filter(|stack| goes_through(&raw, stack, name)).collect();
            assert!(through.len() > 100, "{way:?}: {} through {name}", through.len());
            // Twelve frames of the library and main's behind it: no stack is half of the one and half of the other.
            assert!(share(&through, |stack| stack.addresses.len() >= 15) >= 0.99, "{way:?}: {name}");
        }
    }
}

/// Names of the kernel's loaded programs that are the sampler's.
fn loaded() -> Result<usize, aya::programs::ProgramError> {
    let names = ["on_tick", "on_switch", "on_fork", "on_exec"];
    let programs = aya::programs::loaded_programs().collect::<Result<Vec<_>, _>>()?;
    Ok(programs.iter().filter(|program| program.name_as_str().is_some_and(|name| names.contains(&name))).count())
}

/// The kernel's maps and links.
fn maps_and_links() -> (usize, usize) {
    let maps = aya::maps::loaded_maps().filter_map(Result::ok).count();
    let links = aya::programs::loaded_links().filter_map(Result::ok).count();
    (maps, links)
}

/// The test that follows starts itself with this as the process to sample.
const VICTIM: &str = "WIREPROF_TEST_SAMPLE_UNTIL_KILLED";

#[test]
fn a_killed_sampler_leaves_no_program_no_map_and_no_file_behind() {
    if let Ok(pid) = std::env::var(VICTIM) {
        let options = Options { unwinding: Unwinding::Kernel, ..Options::default() };
        let mut sampler = choose(&options, pid.parse().unwrap()).unwrap().sampler;
        let _recording = sampler.start(&[Sampled::family(pid.parse().unwrap())]).unwrap();
        loop {
            pause(1.0);
        }
    }
    if !ways().contains(&Unwinding::Kernel) {
        return;
    }
    let before = match loaded() {
        Ok(before) => before,
        Err(why) => return skip(format!("the kernel does not list its programs: {why}")),
    };
    if before > 0 {
        return skip("another sampler is at work");
    }
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&format!("{WORK}int main(void) {{ for (;;) good(3); }}"), &[], folder.path().join("program"));
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let target = Running::start(&program, &[]);
    let others = maps_and_links();
    let name = "sample_hostile::a_killed_sampler_leaves_no_program_no_map_and_no_file_behind";
    let mut sampler = Command::new(std::env::current_exe().unwrap());
    sampler.args([name, "--exact"]).env(VICTIM, target.0.id().to_string()).env("TMPDIR", &temporary);
    let sampler = Running(sampler.stdout(Stdio::null()).spawn().unwrap());
    let until = |wanted: &dyn Fn() -> bool, seconds: u64| {
        let began = Instant::now();
        while !wanted() && began.elapsed() < Duration::from_secs(seconds) {
            pause(0.02);
        }
        wanted()
    };
    assert!(until(&|| loaded().unwrap() >= 4, 10), "the sampler's programs are loaded");
    pause(0.5);
    assert!(maps_and_links().0 >= others.0 + 8 && maps_and_links().1 >= others.1 + 3, "its maps and links are seen");
    drop(sampler);
    assert!(until(&|| loaded().unwrap() == 0, 1), "{} programs outlived their sampler by a second", loaded().unwrap());
    assert!(until(&|| maps_and_links() == others, 1), "maps and links {:?}, before {others:?}", maps_and_links());
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "files left in the directory of temporary ones");
    let pinned = std::fs::read_dir("/sys/fs/bpf").map_or(0, |entries| entries.flatten().filter(is_ours).count());
    assert_eq!(pinned, 0, "pinned in /sys/fs/bpf");
}

fn is_ours(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    name.contains("wireprof") || name.starts_with("on_")
}
