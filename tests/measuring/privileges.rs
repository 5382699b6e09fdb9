//! Every kind of user, and hosts that hide or refuse a part: each gets what it may, the rest is said to be not measured
//! with the reason, and the remedy that doctor tells is one. Invariant: what was refused is 0 nowhere.

use crate::binaries::{WIREPROF, testbed_binary};
use crate::skip::{skip, skip_in_part};
use crate::sweeps::*;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use wireprof::profile::Space;
use wireprof::run::{Part, Run, Store};
use wireprof::testbed::{Options, Testbed};

const NOBODY: u32 = 65_534;

/// A directory with copies of both programs, which anybody may run, and a place for runs, where anybody may write.
struct Bench {
    place: Place,
    program: PathBuf,
}

impl Bench {
    /// `None`, with the reason printed: only root can become another user, or take a part of the host away.
    fn new() -> Option<Bench> {
        if !is_root() {
            skip("only root can become another user");
            return None;
        }
        let place = Place::new();
        let copy = |from: PathBuf, name: &str| {
            let to = place.path().join(name);
            std::fs::copy(from, &to).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
            to
        };
        copy(testbed_binary(), "wireprof-testbed");
        let program = copy(WIREPROF.into(), "wireprof");
        std::fs::create_dir(place.runs()).unwrap();
        chown(place.runs(), Some(NOBODY), Some(NOBODY)).unwrap();
        Some(Bench { place, program })
    }

    fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let mut words: Vec<&str> = before.to_vec();
        words.push(self.program.to_str().unwrap());
        words.extend(arguments);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.place.path()).stdin(Stdio::null());
        command.env("HOME", self.place.runs()).env_remove("WIREPROF_RUNS").env_remove("CARGO_BIN_EXE_wireprof-testbed");
        command
    }

    fn as_nobody(&self, arguments: &[&str]) -> Command {
        self.command(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], arguments)
    }

    fn run(&self) -> Run {
        Store::new(self.place.runs()).load("latest").unwrap()
    }
}

const SHORT: [&str; 8] = ["sweep", "--full", "--levels", "2", "--window", "800ms", "--warmup", "200ms"];

/// A sweep of a server that runs already.
fn of<'a>(testbed: &'a Testbed, more: &[&'a str]) -> Vec<&'a str> {
    let ready = &testbed.ready;
    let target = ["--preset", "testbed", "--no-setup", "--no-statements", "--url", &ready.sql];
    [&SHORT[..], &target, &["--metrics-url", &ready.metrics], more].concat()
}

/// Stacks are complete, and the kernel's functions have names.
fn assert_whole(run: &Run, answer: &Answer) {
    let window = &run.windows[0];
    let sampling = window.sampling.as_ref().unwrap();
    let without_pmu = |why: &String| why.starts_with("cpu-clock instead of cycles");
    // Few where others take the CPUs.
    assert!(sampling.samples > 15 && sampling.fallbacks.iter().all(without_pmu), "{sampling:?}");
    let complete = sampling.complete.expect("it is known");
    assert!(100 * complete >= 97 * sampling.samples, "{complete} of {}", sampling.samples);
    let profile = window.profile.as_ref().unwrap();
    let kernels: Vec<_> = profile.frames.iter().filter(|frame| frame.space == Space::Kernel).collect();
    let named = kernels.iter().filter(|frame| frame.miss.is_none()).count();
    assert!(kernels.len() > 5 && named * 10 > kernels.len() * 9, "{named} of {} kernel frames", kernels.len());
    for there in [window.scheduler.is_some(), window.off_cpu.is_some(), window.wire.is_some()] {
        assert!(there, "{:?}\n{}", window.facts.missing, answer.err);
    }
}

#[test]
fn what_doctor_tells_an_ordinary_user_to_type_gives_kernel_names_and_complete_stacks() {
    let Some(bench) = Bench::new() else { return };
    let Some(testbed) = testbed(Options { plants: vec!["cpu:peek=200us".into()], ..Options::default() }) else {
        return;
    };
    let ready = &testbed.ready;
    let server = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    let doctor = [&["doctor", "--json"][..], &server].concat();
    let output = bench.as_nobody(&doctor).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "the server is another user's: {told}");
    let text = answer(bench.as_nobody(&["doctor", "--width", "40"]).output().unwrap()).out;
    let command =
        text.lines().map(str::trim_start).find(|line| line.starts_with("sudo setcap")).expect("a line of its own");
    assert!(told.to_string().contains(command), "{command} is a remedy, too: {told}");
    // Root needs no sudo, and may have none.
    let command = command.strip_prefix("sudo ").unwrap();
    let typed = Command::new("sh").args(["-c", command]).output();
    if !typed.is_ok_and(|output| output.status.success()) {
        return skip("setcap cannot give a file capabilities here");
    }
    let permitted = answer(bench.as_nobody(&doctor).output().unwrap());
    permitted.assert(0, &[]);
    let swept = answer(bench.as_nobody(&of(&testbed, &["--no-follow"])).output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    assert_whole(&bench.run(), &swept);
}

/// Figures that a run without eBPF lacks, said with a reason, and those that perf events have instead.
fn assert_without_programs(run: &Run, answer: &Answer) {
    let window = &run.windows[0];
    let sampling = window.sampling.as_ref().unwrap();
    assert!(sampling.samples > 0 && !sampling.fallbacks.is_empty(), "{sampling:?}");
    assert!(window.off_cpu.is_none() && window.hands.is_none(), "threads were followed without a program");
    let missing: Vec<Part> = window.facts.missing.iter().map(|missing| missing.what.clone()).collect();
    for part in [Part::OffCpuStacks, Part::Carriers] {
        assert!(missing.contains(&part), "no {part:?} in {:?}", window.facts.missing);
    }
    assert!(window.facts.missing.iter().all(|missing| !missing.why.is_empty() && !missing.remedy.is_empty()));
    assert!(answer.out.to_lowercase().contains("not measured"), "{}\n{}", answer.out, answer.err);
}

#[test]
fn root_without_the_kernels_types_or_its_call_or_its_numbers_measures_the_rest() {
    let Some(bench) = Bench::new() else { return };
    let Some(testbed) = testbed(Options { plants: vec!["cpu:peek=200us".into()], ..Options::default() }) else {
        return;
    };
    let follow = of(&testbed, &["--follow", "500ms"]);
    let hide = "mount -t tmpfs none /sys/kernel/btf && mount -t tmpfs none /sys/kernel/tracing && exec \"$@\"";
    let hidden = bench.command(&["unshare", "--mount", "sh", "-c", hide, "sh"], &follow).output().unwrap();
    let swept = answer(hidden);
    if swept.err.contains("unshare failed") {
        skip_in_part("this host makes no namespaces");
    } else {
        assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
        assert_without_programs(&bench.run(), &swept);
        assert!(bench.run().windows[0].wire.is_none(), "the sockets were followed without the kernel's types");
        own_numbers(&bench);
    }
    let mut refused = bench.command(&[], &follow);
    refuse(&mut refused, &[libc::SYS_bpf]);
    let swept = answer(refused.output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    assert_without_programs(&bench.run(), &swept);
    let mut refused = bench.command(&[], &follow);
    refuse(&mut refused, &[libc::SYS_bpf, libc::SYS_perf_event_open]);
    let swept = answer(refused.output().unwrap());
    swept.assert(3, &["sampling of process", "container's filter of system calls", "--no-sampling"]);
    let mut unsampled = bench.command(&[], &of(&testbed, &["--no-sampling", "--no-follow"]));
    refuse(&mut unsampled, &[libc::SYS_bpf, libc::SYS_perf_event_open]);
    let swept = answer(unsampled.output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    let window = &bench.run().windows[0];
    assert!(window.profile.is_none() && window.wire.is_none() && window.scheduler.is_some());
    let mut doctor = bench.command(&[], &["doctor"]);
    refuse(&mut doctor, &[libc::SYS_bpf, libc::SYS_perf_event_open]);
    let told = answer(doctor.output().unwrap()).out;
    assert!(!told.contains("setcap") && told.contains("seccomp=unconfined"), "root has every right: {told}");
}

/// Where the server and wireprof have numbers of their own, which the kernel's programs do not know.
fn own_numbers(bench: &Bench) {
    let sweep = [&SHORT[..], &["--testbed", "--follow", "500ms"]].concat();
    let mut command = bench.command(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], &sweep);
    // Nothing of it lies among what other tests have there.
    let own = bench.place.path().join("tmp");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o777)).unwrap();
    let swept = answer(command.env("TMPDIR", own).output().unwrap());
    assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
    let run = bench.run();
    assert_without_programs(&run, &swept);
    let fallbacks = &run.windows[0].sampling.as_ref().unwrap().fallbacks;
    assert!(fallbacks.iter().any(|why| why.contains("namespace of process numbers")), "{fallbacks:?}");
    let profile = run.windows[0].profile.as_ref().unwrap();
    let target = run.manifest.target.pid.unwrap();
    assert!(profile.samples.iter().any(|sample| profile.labels[sample.labels.index()].pid == target));
}

/// These system calls answer EPERM to the command and all that it starts, as in a container.
fn refuse(command: &mut Command, calls: &[libc::c_long]) {
    let of = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of the call, which seccomp_data begins with (seccomp(2)).
    let mut filter = vec![of(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        filter.push(of(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *call as u32));
        filter.push(of(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    }
    filter.push(of(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe; the program that it reads is the
    // closure's own and whole.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            let done = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
}

#[test]
fn every_verb_that_reads_runs_needs_no_right_at_all() {
    let Some(bench) = Bench::new() else { return };
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/testbed");
    let copied = bench.place.path().join("recorded");
    // A checkout may lie where nobody may look.
    assert!(Command::new("cp").arg("-r").arg(recorded).arg(&copied).status().unwrap().success());
    let into = bench.place.runs();
    let into = into.to_str().unwrap();
    let bare = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
    let out = |name: &str| format!("{into}/{name}");
    let (page, log, table) = (out("page.html"), out("log.md"), out("t.csv"));
    for arguments in [
        &["import", "recorded", "--preset", "testbed", "--brief"][..],
        &["runs"],
        &["explain", "--full"],
        &["diagnose"],
        &["hot"],
        &["metrics"],
        &["statements"],
        &["diff", "latest", "latest"],
        &["flamegraph", "-o", into],
        &["report", "-o", &page],
        &["export", "--format", "csv", "-o", &table],
        &["log", "--log", &log, "new", "--title", "t"],
        &["log", "--log", &log, "check"],
        &["cache"],
        &["completions", "bash"],
        &["man"],
    ] {
        let told = answer(bench.command(&bare, arguments).output().unwrap());
        assert!((0..=1).contains(&told.code), "{arguments:?}: {}\n{}", told.out, told.err);
    }
}
