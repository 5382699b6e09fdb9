//! PostgreSQL, a server with a process a connection, measured by each kind of user: its figures are true, or what is
//! missing is said with the remedy. Invariant: no figure of an instrument that saw nothing is 0.

use crate::binaries::WIREPROF;
use crate::postgres::Postgres;
use crate::skip::skip;
use crate::sweeps::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use wireprof::analyze::judge::summary::{LevelSummary, summary};
use wireprof::check::{Blind, Check};
use wireprof::run::Run;
use wireprof::target::CAPABILITIES;

const NOBODY: u32 = 65_534;

/// Who runs wireprof.
struct User<'a> {
    place: &'a Place,
    /// `None`: the tests' own.
    id: Option<(u32, u32)>,
    program: PathBuf,
}

impl<'a> User<'a> {
    fn own(place: &'a Place) -> User<'a> {
        User { place, id: None, program: WIREPROF.into() }
    }

    /// Another user, with a copy of the program that it can reach.
    fn other(place: &'a Place, uid: u32, gid: u32) -> User<'a> {
        std::fs::create_dir_all(place.runs()).unwrap();
        chown(place.runs(), Some(uid), Some(gid)).unwrap();
        let program = place.path().join("wireprof");
        std::fs::copy(WIREPROF, &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        User { place, id: Some((uid, gid)), program }
    }

    /// `false`: this file system keeps no capabilities, or there is no setcap.
    fn with_capabilities(&self) -> bool {
        let mut setcap = Command::new("setcap");
        setcap.arg(format!("{CAPABILITIES}=ep")).arg(&self.program);
        setcap.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn sweep(&self, server: &Postgres, arguments: &[&str]) -> Answer {
        let mut command = match self.id {
            None => Command::new(&self.program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
                command.arg(&self.program);
                command
            }
        };
        command.args([
            "sweep",
            "--full",
            "--url",
            &server.url("postgres"),
            "--query",
            "select count(*) from generate_series(1,50)",
        ]);
        command.args(["--levels", "2", "--window", "2s", "--warmup", "300ms"]).args(arguments);
        command.current_dir(self.place.path()).env("HOME", self.place.path()).env_remove("WIREPROF_RUNS");
        answer(command.stdin(Stdio::null()).output().unwrap())
    }
}

fn level(run: &Run) -> LevelSummary {
    summary(run).remove(0)
}

/// Samples lie on the backends, and their CPU is that of the kernel's accounting.
fn assert_true(answer: &Answer, run: &Run) {
    answer.assert_done_run(run);
    let level = level(run);
    let (accounted, sampled) = (level.target_cpu.unwrap(), level.sampled_cpu.unwrap());
    assert!(accounted > 5_000.0, "a query takes more than 5 us: {accounted} ns\n{}", answer.out);
    let window = &run.windows[0];
    let off = (sampled / accounted - 1.0).abs();
    if window.sampling.as_ref().unwrap().user_space_only() {
        assert!((0.1..0.95).contains(&(sampled / accounted)), "{sampled} of {accounted} ns in user space");
        let check = window.checks.iter().find(|check| matches!(check, Check::SampledCpu { .. })).unwrap();
        assert!(check.to_string().contains("which this user may not sample"), "{check}");
        assert!(check.remedy().unwrap().contains("run as root, or give"), "{:?}", check.remedy());
    } else {
        assert!(off < 0.25, "{sampled} of {accounted} ns sampled\n{}", answer.out);
    }
    let pid = run.manifest.target.pid.unwrap();
    let profile = run.windows[0].profile.as_ref().unwrap();
    let backends = profile.samples.iter().filter(|sample| profile.labels[sample.labels.index()].pid != pid).count();
    assert!(10 * backends > 9 * profile.samples.len(), "{backends} of {} samples", profile.samples.len());
}

impl Answer {
    fn assert_done_run(&self, run: &Run) {
        assert_eq!(self.code, code_of(std::slice::from_ref(run)), "{}\n{}", self.out, self.err);
    }
}

#[test]
fn root_has_true_figures_and_the_preset_is_found_by_asking() {
    if !is_root() {
        return skip("only root may sample another user's processes");
    }
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let answer = User::own(&place).sweep(&server, &[]);
    let run = place.the_run();
    assert_true(&answer, &run);
    assert_eq!(run.manifest.preset, "postgres");
    assert!(answer.err.contains("preset postgres, because the server says PostgreSQL "), "{}", answer.err);
    assert!(run.manifest.notes.iter().any(|note| note.starts_with("preset postgres, because")), "kept with the run");
    let place = Place::new();
    let answer = User::own(&place).sweep(&server, &["--preset", "generic", "--no-follow"]);
    let run = place.the_run();
    assert_true(&answer, &run);
    assert_eq!(run.manifest.preset, "generic", "an explicit one is not overridden");
    assert!(run.manifest.notes.iter().any(|note| note.contains("children of process")), "{:?}", run.manifest.notes);
}

#[test]
fn children_that_a_preset_does_not_follow_fail_a_check_and_leave_no_zero() {
    if !is_root() {
        return skip("only root may sample another user's processes");
    }
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let preset = place.path().join("childless.toml");
    std::fs::write(&preset, "inherits = \"generic\"\n[process]\nchildren = false\n").unwrap();
    let answer = User::own(&place).sweep(&server, &["--preset", preset.to_str().unwrap(), "--no-follow"]);
    answer.assert(1, &["warning: the connections of process", "does not follow those"]);
    for text in ["are not followed", "--preset postgres", "target CPU", "not measured"] {
        assert!(answer.out.contains(text), "no {text:?} in {}", answer.out);
    }
    let run = place.the_run();
    let level = level(&run);
    assert_eq!((level.target_cpu, level.sampled_cpu, level.runnable), (None, None, None));
    assert!(level.busiest.is_none() && run.windows[0].off_cpu.is_none());
    let seen = run.windows[0].checks.iter().find_map(|check| match check {
        Check::TargetSeen(seen) => Some(seen.clone()),
        _ => None,
    });
    assert_eq!(seen.unwrap().blind(), [Blind::Accounting, Blind::Samples, Blind::Waits]);
    // Another process that answers nothing.
    let mut idle = Command::new("sleep").arg("60").spawn().unwrap();
    let place = Place::new();
    let pid = idle.id().to_string();
    let answer =
        User::own(&place).sweep(&server, &["--preset", "postgres", "--pid", &pid, "--pid-anyway", "--no-follow"]);
    idle.kill().unwrap();
    idle.wait().unwrap();
    answer.assert(1, &[]);
    assert!(answer.out.contains("another process answers") && answer.out.contains("--pid"), "{}", answer.out);
}

#[test]
fn the_servers_own_user_has_samples_of_the_backends() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let Some(server) = Postgres::start("") else { return };
    let owner = std::fs::metadata(server.directory()).unwrap();
    let place = Place::new();
    let user = User::other(&place, owner.uid(), owner.gid());
    let answer = user.sweep(&server, &[]);
    if answer.code == 3 {
        // Where the kernel permits no sampling at all, that is said before the load.
        answer.assert(3, &["sampling of process", "remedy: run as root"]);
        return place.assert_no_run_of(&answer);
    }
    assert_true(&answer, &place.the_run());
}

impl Place {
    fn assert_no_run_of(&self, answer: &Answer) {
        assert!(self.runs().read_dir().unwrap().next().is_none(), "{}", answer.err);
    }
}

#[test]
fn nobody_with_file_capabilities_has_true_figures_and_without_them_is_told_what_is_missing() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let user = User::other(&place, NOBODY, NOBODY);
    let refused = user.sweep(&server, &[]);
    refused.assert(3, &["remedy: run as root or as the server's user", "setcap"]);
    let unsampled = user.sweep(&server, &["--no-sampling", "--no-follow"]);
    let run = place.the_run();
    unsampled.assert_done_run(&run);
    let figures = level(&run);
    assert_eq!((figures.target_cpu, figures.sampled_cpu, figures.runnable), (None, None, None));
    assert!(figures.why.target_cpu.as_ref().unwrap().contains("does not show its open files"), "{:?}", figures.why);
    assert!(unsampled.out.contains("does not show its open files"), "{}", unsampled.out);
    let place = Place::new();
    let user = User::other(&place, NOBODY, NOBODY);
    if !user.with_capabilities() {
        return skip("setcap cannot give a file capabilities here");
    }
    let answer = user.sweep(&server, &[]);
    assert_true(&answer, &place.the_run());
}
