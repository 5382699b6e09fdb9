//! Sampling of real processes by real perf events: complete stacks without frame pointers, children and threads born
//! while it samples. Skipped, with the reason printed, where the host permits no perf events.

use crate::skip::{skip, skip_in_part};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wireprof::sample::Options;
use wireprof::sample::{ModuleKind, RawSamples, Sampled, SamplingReport, Unwinding, choose};

/// The ways of following stacks that this host permits; says why for those that it does not.
pub fn ways() -> Vec<Unwinding> {
    let (mut permitted, mut refused) = (Vec::new(), Vec::new());
    for unwinding in [Unwinding::Kernel, Unwinding::Copy] {
        match choose(&Options { unwinding, ..Options::default() }, std::process::id()) {
            Ok(_) => permitted.push(unwinding),
            Err(why) => refused.push(why.to_string()),
        }
    }
    if permitted.is_empty() {
        skip(refused.join("; "));
    } else {
        refused.iter().for_each(skip_in_part);
    }
    permitted
}

/// Compiles a C program with the given flags; the directory must be kept while it runs.
fn compile(source: &str, flags: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (file, program) = (directory.path().join("program.c"), directory.path().join("program"));
    std::fs::write(&file, source).unwrap();
    let status = Command::new("cc").args(flags).arg("-o").arg(&program).arg(&file).status().expect("cc is installed");
    assert!(status.success());
    (directory, program)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sample(program: &std::path::Path, seconds: f64, unwinding: Unwinding) -> (RawSamples, SamplingReport) {
    sample_with(program, seconds, Options { unwinding, ..Options::default() })
}

fn sample_with(program: &std::path::Path, seconds: f64, options: Options) -> (RawSamples, SamplingReport) {
    let child = Running(Command::new(program).stdout(Stdio::null()).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    let mut sampler = choose(&options, child.0.id()).unwrap().sampler;
    let recording = sampler.start(&[Sampled::family(child.0.id())]).unwrap();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    recording.stop().unwrap()
}

/// Of the stacks that were walked: a late tick takes over another sample's, or none.
fn complete_share(raw: &RawSamples) -> f64 {
    let walked: Vec<_> = raw.samples.iter().filter(|s| !s.late).collect();
    let complete = walked.iter().filter(|s| raw.stacks[s.stack as usize].incomplete.is_none()).count();
    complete as f64 / walked.len() as f64
}

const NESTED: &str = r#"
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    volatile unsigned long sink;
    static int order(const void *a, const void *b) {
        for (int i = 0; i < 50; i++) sink += i;
        return *(int *)a - *(int *)b; }
    __attribute__((noinline)) void leaf(int *numbers) { qsort(numbers, 64, sizeof *numbers, order); }
    __attribute__((noinline)) void middle(int n, int *numbers) {
        char pad[512]; memset(pad, n, sizeof pad); sink += pad[n];
        if (n) middle(n - 1, numbers); else leaf(numbers); sink++; }
    int main(void) { int numbers[64]; for (;;) {
        for (int i = 0; i < 64; i++) numbers[i] = (i * 7919) % 64;
        middle(20, numbers); getppid(); } }
"#;

#[test]
fn stacks_of_a_c_program_without_frame_pointers_are_complete_through_libc_and_back() {
    for way in ways() {
        let (_kept, program) = compile(NESTED, &["-O2", "-fomit-frame-pointer", "-g0"]);
        let (raw, report) = sample(&program, 1.0, way);
        assert!(report.recorded > 500, "{report:?}");
        assert!(complete_share(&raw) >= 0.999, "{} of {} {report:?}", complete_share(&raw), raw.samples.len());
        let deep = raw.samples.iter().filter(|s| raw.stacks[s.stack as usize].addresses.len() > 24).count();
        assert!(deep * 2 > raw.samples.len(), "the recursion of 20 frames shows in {deep} of {}", raw.samples.len());
    }
}

const RECURSION: &str = r#"
    volatile unsigned long sink;
    __attribute__((noinline)) void work(int n) { for (int i = 0; i < 300; i++) sink += i; if (n) work(n - 1); sink++; }
    int main(void) { for (;;) work(20); }
"#;

#[test]
fn framehop_finds_the_same_stacks_and_frame_pointers_do_in_a_program_that_has_them() {
    let builds = [("-fomit-frame-pointer", false), ("-fno-omit-frame-pointer", true)];
    for (unwinding, (flags, pointers)) in ways().into_iter().flat_map(|way| builds.map(|build| (way, build))) {
        let options = Options { cross_checks: true, unwinding, ..Options::default() };
        let (_kept, program) = compile(RECURSION, &["-O2", flags, "-g0"]);
        let (_, report) = sample_with(&program, 1.0, options);
        let found = report.cross_checks.expect("the stacks were cross-checked");
        assert!(found.framehop.same > 500 && found.framehop.different == 0, "{flags}: {:?}", found.framehop);
        let agreed = found.frame_pointers.same + found.frame_pointers.but_for_a_caller;
        // Without frame pointers that cross-check must be seen to fail.
        let fails = found.frame_pointers.different > 0;
        assert_eq!((agreed > 100 && !fails, fails), (pointers, !pointers), "{flags}: {:?}", found.frame_pointers);
    }
}

#[test]
fn a_stack_deeper_than_any_copy_is_complete_in_the_kernel_and_counted_as_cut_by_copying() {
    let source = NESTED.replace("pad[512]", "pad[32768]");
    for way in ways() {
        let (_kept, program) = compile(&source, &["-O2", "-fomit-frame-pointer"]);
        let (raw, report) = sample(&program, 0.5, way);
        let share = complete_share(&raw);
        let right = if way == Unwinding::Kernel { share >= 0.999 } else { share < 0.5 };
        assert!(!raw.samples.is_empty() && right, "{way:?}: {share} {report:?}");
    }
}

#[test]
fn threads_and_children_born_while_sampling_are_sampled_under_their_own_numbers_and_strangers_are_not() {
    let source = r#"
        #define _GNU_SOURCE
        #include <pthread.h>
        #include <unistd.h>
        #include <sys/wait.h>
        #include <time.h>
        volatile unsigned long sink;
        static void burn(double s) { struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);
            do { for (int i = 0; i < 1000; i++) sink++; clock_gettime(CLOCK_MONOTONIC, &b); }
            while ((b.tv_sec - a.tv_sec) + 1e-9 * (b.tv_nsec - a.tv_nsec) < s); }
        static void *thread(void *_) { pthread_setname_np(pthread_self(), "born-later"); burn(0.2); return 0; }
        int main(void) { usleep(1000000);
            pthread_t t; pthread_create(&t, 0, thread, 0); pthread_join(t, 0);
            if (!fork()) { burn(0.2); _exit(0); } wait(0); usleep(500000); return 0; }
    "#;
    for way in ways() {
        let (_kept, program) = compile(source, &["-O2", "-pthread"]);
        // It sleeps until the kernel has surely verified the programs, which can take it half a second.
        let (raw, report) = sample(&program, 1.7, way);
        let mut pids: Vec<u32> = raw.threads.iter().map(|t| t.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 2, "{:?}", raw.threads);
        assert!(raw.threads.iter().any(|t| t.thread == "born-later" && t.tid != t.pid), "{:?}", raw.threads);
        assert!(raw.threads.iter().all(|t| t.process == "program"), "{:?}", raw.threads);
        assert!(complete_share(&raw) > 0.98, "{report:?}");
        assert!(raw.modules.iter().any(|m| m.kind == ModuleKind::File && m.path == program && m.build_id.is_some()));
    }
}

#[test]
fn a_stack_goes_on_through_a_signal_handler_to_what_it_interrupted() {
    // The short handler is mostly met on its way in and out, sigreturn(2) among it.
    for iterations in [1_000_000, 1_000] {
        let source = r#"
            #include <signal.h>
            #include <unistd.h>
            volatile unsigned long sink;
            static void handler(int s) { for (int i = 0; i < ITERATIONS; i++) sink += s; }
            __attribute__((noinline)) static void interrupted(void) { kill(getpid(), SIGUSR1); sink++; }
            int main(void) { signal(SIGUSR1, handler); for (;;) interrupted(); }
        "#;
        let source = source.replace("ITERATIONS", &iterations.to_string());
        for way in ways() {
            let (_kept, program) = compile(&source, &["-O2", "-fomit-frame-pointer"]);
            let (raw, report) = sample(&program, 0.5, way);
            assert!(complete_share(&raw) >= 0.995, "{report:?}");
            // handler, trampoline, kill, interrupted, main, two of libc's start, _start
            let walked: Vec<_> = raw.samples.iter().filter(|s| !s.late).collect();
            let through = walked.iter().filter(|s| raw.stacks[s.stack as usize].addresses.len() >= 7).count();
            let expected = if iterations == 1_000 { 0 } else { 9 };
            assert!(through * 10 > walked.len() * expected, "{through} of {}", walked.len());
        }
    }
}

/// A library that is loaded, and children that are born, while the program is being sampled.
const LOADS_AND_FORKS: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    volatile unsigned long sink;
    static void burn(double s) { struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);
        do { for (int i = 0; i < 1000; i++) sink++; clock_gettime(CLOCK_MONOTONIC, &b); }
        while ((b.tv_sec - a.tv_sec) + 1e-9 * (b.tv_nsec - a.tv_nsec) < s); }
    int main(int count, char **arguments) { (void)count; burn(0.5);
        char path[4096]; snprintf(path, sizeof path, "%s.so", arguments[0]);
        void (*deep)(int, void (*)(double)) = (void (*)(int, void (*)(double)))dlsym(dlopen(path, RTLD_NOW), "deep");
        deep(12, burn);
        for (int i = 0; i < 3; i++) if (!fork()) { deep(12, burn); _exit(0); }
        while (wait(0) > 0) {} for (;;) burn(1); }
"#;
const LIBRARY: &str = r#"
    volatile unsigned long sink;
    __attribute__((noinline)) void deep(int n, void (*f)(double)) { if (n) deep(n - 1, f); else f(0.5); sink++; }
"#;

#[test]
fn a_library_loaded_and_children_born_while_sampling_leave_complete_stacks_through_both() {
    for way in ways() {
        let (kept, program) = compile(LOADS_AND_FORKS, &["-O2", "-fomit-frame-pointer"]);
        let library = kept.path().join("library.c");
        std::fs::write(&library, LIBRARY).unwrap();
        let shared = ["-O2", "-fomit-frame-pointer", "-shared", "-fPIC", "-o"];
        let object = format!("{}.so", program.display());
        let built = Command::new("cc").args(shared).arg(&object).arg(&library).status().expect("cc is installed");
        assert!(built.success());
        let (raw, report) = sample(&program, 3.5, way);
        assert!(complete_share(&raw) >= 0.999, "{way:?}: {} of {} {report:?}", complete_share(&raw), raw.samples.len());
        let through = |pid: Option<u32>| {
            let inside =
                |stack: u32| raw.stacks[stack as usize].addresses.iter().filter(|a| in_library(&raw, a)).count();
            raw.samples
                .iter()
                .filter(|s| pid.is_none_or(|pid| raw.threads[s.thread as usize].pid == pid))
                .filter(|s| inside(s.stack) >= 12)
                .count()
        };
        let mut pids: Vec<u32> = raw.threads.iter().map(|t| t.pid).collect();
        pids.dedup();
        assert!(
            pids.len() >= 4 && pids.iter().all(|pid| through(Some(*pid)) > 50),
            "{way:?}: {:?}",
            pids.iter().map(|pid| through(Some(*pid))).collect::<Vec<_>>()
        );
    }
}

fn in_library(raw: &RawSamples, address: &wireprof::sample::Address) -> bool {
    address.module.is_some_and(|id| raw.modules[id.0 as usize].path.ends_with("program.so"))
}
