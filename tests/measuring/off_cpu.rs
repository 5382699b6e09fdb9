//! Waits of real threads by stack: blocked and runnable time against the clock, ids that collide, births and deaths.
//! Skipped, with the reason printed, where the host does not permit the kernel's program.

use crate::skip::skip;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wireprof::sample::Options;
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::unwind::Cache;
use wireprof::sample::{Address, Incomplete, ModuleKind, RawOffCpu, RawSamples, Sampled, Sampler, SamplingReport};

/// A program, and the directory that it lies in.
struct Running {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compiles and starts a C program.
fn run(source: &str) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let (file, program) = (directory.path().join("program.c"), directory.path().join("program"));
    std::fs::write(&file, source).unwrap();
    let flags = ["-O1", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-inline", "-pthread", "-o"];
    let built = Command::new("cc").args(flags).arg(&program).arg(&file).status().expect("cc is installed");
    assert!(built.success());
    let child = Command::new(&program).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    Running { child, _directory: directory }
}

/// A sampler that follows waits, with ids of these bits; `None`, with the reason printed, where that is not permitted.
fn sampler(id_mask: u64) -> Option<EbpfSampler> {
    let options = Options { off_cpu: true, ..Options::default() };
    let opened = EbpfSampler::open_with_few_ids(options, Cache::default(), id_mask);
    opened.map_err(|why| skip(format!("{why:#}"))).ok()
}

fn follow(sampler: &mut EbpfSampler, pid: u32, seconds: f64) -> (RawSamples, RawOffCpu) {
    let (mut raw, _) = record(sampler, pid, seconds);
    let off_cpu = raw.off_cpu.take().expect("it was asked for").expect("it is permitted");
    (raw, off_cpu)
}

fn record(sampler: &mut EbpfSampler, pid: u32, seconds: f64) -> (RawSamples, SamplingReport) {
    let recording = sampler.start(&[Sampled::family(pid)]).unwrap();
    recording.begin_window();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    recording.end_window();
    recording.stop().unwrap()
}

const THREADS: &str = r#"
    #define _GNU_SOURCE
    #include <pthread.h>
    #include <time.h>
    #include <unistd.h>
    static void *idle(void *_) { pthread_setname_np(pthread_self(), "idle"); for (;;) pause(); }
    static void nap(void) { struct timespec t = { 0, 2000000 }; nanosleep(&t, 0); }
    static void *sleeper(void *_) { pthread_setname_np(pthread_self(), "sleeper"); for (;;) nap(); }
    static void *brief(void *_) { pthread_setname_np(pthread_self(), "brief"); usleep(20000); return 0; }
    int main(void) { pthread_t t; pthread_create(&t, 0, idle, 0); pthread_create(&t, 0, sleeper, 0);
        for (;;) { pthread_create(&t, 0, brief, 0); pthread_join(t, 0); } }
"#;

#[test]
fn blocked_time_is_the_windows_where_a_thread_never_wakes_and_the_sleeps_where_it_does() {
    let Some(mut sampler) = sampler(u64::MAX) else { return };
    let program = run(THREADS);
    let (raw, off_cpu) = follow(&mut sampler, program.child.id(), 1.0);
    let window = off_cpu.report.span.nanos() as f64;
    let of = |name: &'static str| {
        let raw = &raw;
        off_cpu.waits.iter().filter(move |wait| raw.threads[wait.thread as usize].thread == name)
    };
    let idle: Vec<_> = of("idle").collect();
    let residual =
        |wait: &&wireprof::sample::RawWait| raw.stacks[wait.stack as usize].incomplete == Some(Incomplete::Before);
    assert!(idle.len() == 1 && residual(&idle[0]) && idle[0].waits == 0, "{idle:?}");
    assert_eq!(idle[0].blocked as f64, window, "the whole window, to the nanosecond");
    let sleeper: Vec<_> = of("sleeper").filter(|wait| !residual(wait)).collect();
    let (waits, blocked): (u64, u64) = sleeper.iter().fold((0, 0), |sum, w| (sum.0 + w.waits, sum.1 + w.blocked));
    let mean = blocked as f64 / waits as f64;
    // Timer slack adds 50 us; a late timer on a busy machine more.
    assert!(waits > 100 && (2.0e6..3.0e6).contains(&mean), "{waits} naps of {mean} ns, {sleeper:?}");
    let all: u64 = sleeper.iter().map(|wait| wait.blocked + wait.runnable).sum();
    assert!(all as f64 > 0.9 * window && all as f64 <= window, "{all} of {window}");
    let complete = sleeper.iter().filter(|wait| raw.stacks[wait.stack as usize].incomplete.is_none());
    assert!(complete.map(|wait| wait.waits).sum::<u64>() == waits, "{sleeper:?}");
    let born: Vec<_> = off_cpu
        .waits
        .iter()
        .filter(|wait| raw.stacks[wait.stack as usize].incomplete == Some(Incomplete::Newborn))
        .collect();
    assert!(born.len() > 20 && born.iter().all(|wait| wait.blocked == 0 && wait.waits == 1), "{born:?}");
    let report = &off_cpu.report;
    assert!(report.lost_waits == 0 && report.lost_stacks == 0 && report.lost_nanos == 0, "{report:?}");
}

/// 1,024 stacks of ten functions, all waiting at one place: the same system call, instruction and stack pointer.
const MANY_STACKS: &str = r#"
    #include <time.h>
    volatile unsigned long sink;
    static void nap(void) { struct timespec t = { 0, 300000 }; nanosleep(&t, 0); }
    void right(int n, unsigned way);
    void left(int n, unsigned way) {
        if (!n) nap(); else if (way & 1) right(n - 1, way >> 1); else left(n - 1, way >> 1);
        sink += 1; }
    void right(int n, unsigned way) {
        if (!n) nap(); else if (way & 1) right(n - 1, way >> 1); else left(n - 1, way >> 1);
        sink += 2; }
    int main(void) { for (;;) for (unsigned way = 0; way < 1024; way++) left(10, way); }
"#;

#[test]
fn a_thousand_stacks_whose_ids_collide_lose_nothing() {
    let Some(mut sampler) = sampler(0xff) else { return };
    let program = run(MANY_STACKS);
    let (raw, off_cpu) = follow(&mut sampler, program.child.id(), 2.5);
    let report = &off_cpu.report;
    assert!(report.collisions > 1024 && report.lost_stacks == 0 && report.lost_waits == 0, "{report:?}");
    let napping =
        |wait: &&wireprof::sample::RawWait| wait.blocked > 0 && raw.stacks[wait.stack as usize].incomplete.is_none();
    // By user frames: the kernel's also tell whether somebody else follows context switches at the time.
    let mut naps: BTreeMap<Vec<Address>, (u64, u64)> = BTreeMap::new();
    for wait in off_cpu.waits.iter().filter(napping) {
        let user = raw.stacks[wait.stack as usize].addresses.iter().filter(|address| !in_kernel(&raw, address));
        let sums = naps.entry(user.copied().collect()).or_default();
        *sums = (sums.0 + wait.waits, sums.1 + wait.blocked);
    }
    assert_eq!(naps.len(), 1024, "{report:?}");
    // In turn; on a busy machine a nap can be over before its thread has left the CPU.
    let counts = naps.values().map(|(waits, _)| *waits);
    let (least, most) = (counts.clone().min().unwrap(), counts.clone().max().unwrap());
    assert!(most <= 2 * least + 2, "between {least} and {most} of {}, {report:?}", counts.sum::<u64>());
    assert!(naps.values().all(|(waits, blocked)| *blocked >= 290_000 * waits), "{report:?}");
    assert_eq!(report.divided_among_several, 0, "each was followed: {report:?}");
}

fn in_kernel(raw: &RawSamples, address: &Address) -> bool {
    address.module.is_some_and(|id| raw.modules[id.0 as usize].kind == ModuleKind::Kernel)
}

/// Sixteen threads that wait, each at two places, and one whose stack is deeper than a page holds.
const MORE_THAN_FITS: &str = r#"
    #define _GNU_SOURCE
    #include <poll.h>
    #include <pthread.h>
    #include <time.h>
    volatile unsigned long sink;
    static void *waiter(void *_) { struct timespec t = { 0, 1000000 };
        for (;;) { nanosleep(&t, 0); poll(0, 0, 1); } }
    static void deep(int n) { volatile char room[16]; room[0] = n;
        if (n) deep(n - 1); else for (unsigned long i = 0; i < 1000000; i++) sink += i;
        sink += room[0]; }
    int main(void) { pthread_t t; for (int i = 0; i < 16; i++) pthread_create(&t, 0, waiter, 0);
        for (;;) deep(600); }
"#;

#[test]
fn what_finds_no_room_in_the_kernel_is_counted_to_the_last_wait_and_sample() {
    let options = Options { off_cpu: true, frequency: 997, ..Options::default() };
    let Ok(mut sampler) =
        EbpfSampler::open_with_little_room(options, Cache::default()).map_err(|why| skip(format!("{why:#}")))
    else {
        return;
    };
    let program = run(MORE_THAN_FITS);
    let (mut raw, report) = record(&mut sampler, program.child.id(), 2.0);
    let off_cpu = raw.off_cpu.take().expect("it was asked for").expect("it is permitted").report;
    // The deep thread is on CPU all the time, and none of its samples fits.
    let on_cpu = report.lost as f64 / 997.0;
    assert!((1.0..2.6).contains(&on_cpu), "{} samples lost, {report:?}", report.lost);
    assert!(off_cpu.lost_waits > 1_000, "{off_cpu:?}");
    // Whatever is told and whatever is lost: sixteen threads were off their CPU nearly all the time, and the deep one
    // where others had the CPU.
    let window = off_cpu.span.nanos() as f64;
    let threads = (off_cpu.blocked + off_cpu.runnable + off_cpu.lost_nanos) as f64 / window;
    assert!((15.0..17.0).contains(&threads), "{threads} threads off CPU of 17: {off_cpu:?}");
}

/// Gives birth to so many processes that live for so many us, waits for all of them, and begins anew.
const BIRTHS: &str = r#"
    #include <sys/prctl.h>
    #include <sys/wait.h>
    #include <signal.h>
    #include <unistd.h>
    int main(void) { for (;;) {
        for (int i = 0; i < AT_A_TIME; i++) if (!fork()) { prctl(PR_SET_PDEATHSIG, SIGKILL); usleep(LIFE); _exit(0); }
        while (wait(0) > 0) ; } }
"#;

#[test]
fn processes_that_end_make_room_for_others_and_those_that_find_none_are_counted() {
    let options = Options { off_cpu: true, ..Options::default() };
    let Ok(mut sampler) =
        EbpfSampler::open_with_little_room(options, Cache::default()).map_err(|why| skip(format!("{why:#}")))
    else {
        return;
    };
    // There is room for 64.
    let mut lost = |at_a_time: &str, life: &str| {
        let program = run(&BIRTHS.replace("AT_A_TIME", at_a_time).replace("LIFE", life));
        let (raw, report) = record(&mut sampler, program.child.id(), 4.0);
        drop(program);
        let born = raw.threads.len();
        (born, report.fallbacks.into_iter().find(|note| note.contains("gave birth to found no room")))
    };
    let (born, none) = lost("1", "10000");
    assert!(born > 100, "{born} processes seen");
    assert_eq!(none, None);
    assert!(lost("100", "500000").1.is_some());
}

/// A thread that has 0.5 s of CPU and ends.
const ENDS: &str = r#"
    #include <pthread.h>
    #include <time.h>
    #include <unistd.h>
    volatile unsigned long sink;
    static void *burn(void *_) { struct timespec t;
        do sink += 1, clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); while (!t.tv_sec && t.tv_nsec < 500000000);
        return 0; }
    int main(void) { pthread_t t; pthread_create(&t, 0, burn, 0); pthread_join(t, 0); for (;;) pause(); }
"#;

/// A process of this number that has nothing to do with anybody and is busy; `None`: the number cannot be had.
fn stranger(number: u32) -> Option<Running> {
    for _ in 0..200 {
        // The next process has the number behind this one (proc_sys_kernel(5)).
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
        let mut busy = Command::new("sh");
        busy.args(["-c", "while :; do :; done"]);
        let busy = Running { child: busy.spawn().unwrap(), _directory: tempfile::tempdir().unwrap() };
        if busy.child.id() == number {
            return Some(busy);
        }
    }
    None
}

#[test]
fn a_stranger_that_gets_an_ended_threads_number_is_no_thread_of_the_target() {
    for off_cpu in [false, true] {
        let options = Options { off_cpu, ..Options::default() };
        let Ok(mut sampler) = EbpfSampler::open(options, Cache::default()).map_err(|why| skip(format!("{why:#}")))
        else {
            return;
        };
        let program = run(ENDS);
        let tasks = format!("/proc/{}/task", program.child.id());
        let numbers =
            || std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().file_name().into_string().unwrap());
        let number: u32 = numbers().map(|task| task.parse().unwrap()).find(|task| *task != program.child.id()).unwrap();
        let recording = sampler.start(&[Sampled::family(program.child.id())]).unwrap();
        recording.begin_window();
        while numbers().count() > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let Some(_busy) = stranger(number) else { return skip(format!("no process can be given the number {number}")) };
        std::thread::sleep(Duration::from_secs(1));
        recording.end_window();
        let (raw, _) = recording.stop().unwrap();
        let on_cpu = raw.on_cpu.unwrap().last().unwrap().threads[&number];
        assert!((50_000_000..510_000_000).contains(&on_cpu), "{on_cpu} ns of CPU, waits followed: {off_cpu}");
    }
}
