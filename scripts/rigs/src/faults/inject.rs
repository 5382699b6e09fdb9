//! Does what a fault is. Invariant: it strikes only processes and files of its own round.

use super::ground::Place;
use super::left::processes;
use super::plan::{Fault, Replaced, Round, Target, Whom};
use super::shim::{self, Wrong};
use super::target::Around;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use wireprof::child::signal;

pub fn inject(round: &Round, place: &Place, around: &mut Around, wireprof: u32) {
    let whom = |whom: Whom| victim(round, place, around, wireprof, whom);
    match round.fault {
        Fault::Signal(struck, number) => drop(whom(struck).map(|pid| signal(pid, number))),
        Fault::Twice(after) => {
            signal(wireprof, libc::SIGINT);
            std::thread::sleep(after);
            signal(wireprof, libc::SIGINT);
        }
        Fault::Stopped(struck, length) => {
            if let Some(pid) = whom(struck) {
                signal(pid, libc::SIGSTOP);
                std::thread::sleep(length);
                signal(pid, libc::SIGCONT);
            }
        }
        Fault::OneCpu(struck) => {
            let Some(pid) = whom(struck) else { return };
            let mut taskset = Command::new("taskset");
            taskset.args(["-apc", "0", &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = taskset.status();
        }
        Fault::DiskFull if place.is_mounted() => fill(place),
        Fault::DiskReadOnly if place.is_mounted() => make_read_only(place),
        Fault::RunsRemoved => drop(std::fs::remove_dir_all(place.runs())),
        Fault::RunsReplaced(by) => replace(place, by),
        Fault::Clock(seconds) => drop(shim::tell(place, Wrong { seconds, ..Wrong::default() })),
        Fault::WriteErrors => drop(shim::tell(place, Wrong { writing: true, ..Wrong::default() })),
        Fault::ReadErrors => drop(shim::tell(place, Wrong { reading: true, ..Wrong::default() })),
        Fault::Metrics(_) => around.metrics.iter().for_each(|server| server.misbehave(None)),
        Fault::Proxy(fault) => around.proxy.iter().for_each(|server| server.misbehave(Some(fault))),
        Fault::Misbehaves(how) => around.pretend.iter_mut().for_each(|pretend| pretend.misbehave(how)),
        Fault::Extension => ask(around, "drop extension pg_stat_statements"),
        Fault::Terminated => {
            ask(
                around,
                "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' \
                and pid <> pg_backend_pid()",
            );
        }
        _ => {}
    }
}

/// What a query answers matters to nobody; a server that is gone is no server to change.
fn ask(around: &Around, query: &str) {
    around.cluster.iter().for_each(|cluster| drop(cluster.ask(query)));
}

/// Something fails only where wireprof has made nothing yet.
fn replace(place: &Place, by: Replaced) {
    let runs = place.runs();
    let _ = std::fs::rename(&runs, place.disk().join("runs-put-away"));
    let _ = match by {
        Replaced::Directory => std::fs::create_dir(&runs),
        Replaced::File => std::fs::write(&runs, "no directory"),
        Replaced::Link => std::os::unix::fs::symlink("nowhere/at/all", &runs),
    };
}

fn fill(place: &Place) {
    let Ok(mut file) = std::fs::File::create(place.disk().join("ballast")) else { return };
    for block in [vec![1; 1 << 20], vec![1; 4 << 10]] {
        while file.write_all(&block).is_ok() {}
    }
}

/// As long as a file is open for writing, the file system cannot become one that is only read.
fn make_read_only(place: &Place) {
    for _ in 0..200 {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,ro"]).arg(place.disk()).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn victim(round: &Round, place: &Place, around: &Around, wireprof: u32, whom: Whom) -> Option<u32> {
    let named = |name: &'static str| processes(place).into_iter().filter(move |one| one.name.starts_with(name));
    let postmaster = || match round.target {
        Target::Testbed => {
            let all: Vec<_> = named("postgres").collect();
            all.iter().find(|one| all.iter().all(|other| other.pid != one.parent)).map(|one| one.pid)
        }
        _ => around.cluster.as_ref().map(super::cluster::Cluster::pid),
    };
    match whom {
        Whom::Wireprof => Some(wireprof),
        Whom::Database => postmaster(),
        Whom::Session => {
            let postmaster = postmaster()?;
            let all: Vec<u32> = super::left::children(postmaster);
            all.get(round.dice as usize % all.len().max(1)).copied()
        }
        Whom::Server => around.server().or_else(|| named("wireprof-testbe").next().map(|one| one.pid)),
    }
}
