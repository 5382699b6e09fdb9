//! The load, a server and its database on three hosts, which are network namespaces with a real sshd in each: a pooler
//! is the server, PostgreSQL the database.

use crate::binaries::WIREPROF;
use crate::hosts::{ADDRESSES, Hosts};
use crate::postgres::{Postgres, run_as, unprivileged};
use crate::skip::skip;
use crate::sweeps::{Answer, Place, Running, answer, signal};
use crate::two_hosts::{await_none_serves_on, one_line, serving_on};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::profile::ColumnKind;
use wireprof::run::{Companion, Window};

/// Where the database is.
const THIRD: usize = 2;

/// The three with what runs on them, which ends before they do.
struct Chain {
    pooler: Child,
    database: Postgres,
    hosts: Hosts,
    _directory: tempfile::TempDir,
}

impl Chain {
    fn start() -> Option<Chain> {
        // Debian's directory for it is not in everybody's PATH.
        let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let program = std::env::split_paths(&places).map(|place| place.join("pgbouncer")).find(|path| path.is_file());
        let Some(program) = program else {
            skip("PgBouncer is not installed: install the package `pgbouncer`");
            return None;
        };
        let hosts = Hosts::start_of(3, Duration::from_micros(200))?;
        let database = hosts.within(THIRD, || {
            let database = Postgres::start("listen_addresses = '*'")?;
            let hba = database.directory().join("data/pg_hba.conf");
            let mut hba = std::fs::File::options().append(true).open(hba).unwrap();
            writeln!(hba, "host all all 10.213.0.0/24 trust").unwrap();
            database.run(&["select pg_reload_conf()"]);
            Some(database)
        })?;
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let file = directory.path().join("pooler.ini");
        let settings = format!(
            "[databases]\n* = host={} port={port} user=postgres\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 10\n\
             ignore_startup_parameters = extra_float_digits,options\n",
            ADDRESSES[THIRD],
            ADDRESSES[1],
            port = database.port
        );
        std::fs::write(&file, settings).unwrap();
        let pooler = hosts.within(1, || {
            let mut command = Command::new(program);
            command.arg("--quiet").arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
            let pooler = run_as(&mut command, unprivileged(), Path::new("/")).spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while std::net::TcpStream::connect((ADDRESSES[1], database.port)).is_err() {
                assert!(Instant::now() < deadline, "the pooler does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
            pooler
        });
        Some(Chain { pooler, database, hosts, _directory: directory })
    }

    /// The number of the database's first process: on hosts that are namespaces all processes are seen.
    fn database_pid(&self) -> u32 {
        let pid = std::fs::read_to_string(self.database.directory().join("data/postmaster.pid")).unwrap();
        pid.lines().next().unwrap().parse().unwrap()
    }

    fn sweep(&self, place: &Place, arguments: &[&str]) -> Command {
        let url = format!("postgres://postgres@{}:{}/postgres", ADDRESSES[1], self.database.port);
        let also = format!("{}/{}", self.hosts.url(THIRD), self.database_pid());
        let query = "select count(*) from generate_series(1, 2000)";
        let own =
            ["sweep", "--preset", "generic", "--url", &url, "--query", query, "--levels", "4", "--warmup", "200ms"];
        let also = ["--also", &also, "--also-program", WIREPROF, "--no-follow", "--full"];
        self.hosts.wireprof(place.path(), "ssh_config", &[&own[..], &also, arguments].concat())
    }

    fn swept(&self, place: &Place, arguments: &[&str]) -> Answer {
        let swept = answer(self.sweep(place, arguments).output().unwrap());
        assert!(swept.code <= 1, "{}\n{}", swept.out, swept.err);
        swept
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.pooler.kill();
        let _ = self.pooler.wait();
    }
}

/// The database's samples of a window: in the window, divided by the kernel's account of the same seconds.
fn assert_sampled(window: &Window) -> &Companion {
    let [database] = window.companions.as_slice() else {
        panic!("{:?}, {:?}", window.companions.len(), window.facts.missing);
    };
    assert_eq!(database.process, "postgres@10.213.0.3:2222");
    let host = database.host.as_ref().unwrap();
    assert!((1..5_000_000).contains(&host.bound) && host.bytes > 1_000, "{host:?}");
    let (profile, account) = (database.profile.as_ref().unwrap(), database.account.as_ref().unwrap());
    assert_eq!(account.span, window.facts.span, "its CPU is of the window");
    let column = profile.column(&ColumnKind::Cpu).unwrap();
    let (sampled, accounted) = (profile.total(column) as f64, account.cpu() as f64);
    assert!((sampled / accounted - 1.0).abs() < 0.3, "{sampled:.0} ns sampled, {accounted:.0} accounted to");
    let nanos = window.facts.span.nanos();
    let inside = profile.samples.iter().all(|sample| sample.at.is_some_and(|at| at < nanos));
    assert!(inside, "samples are of the window, by its clock");
    println!("{:.0} us of CPU a query; {host:?}", accounted / 1e3 / window.load.completed as f64);
    database
}

#[test]
fn a_database_on_a_third_host_is_sampled_there_in_the_same_windows_and_losing_it_costs_its_samples_alone() {
    let Some(chain) = Chain::start() else { return };
    let (hosts, place) = (&chain.hosts, Place::new());
    let target = hosts.target_host();
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    chain.swept(&place, &[&["--window", "1s"], &target[..]].concat());
    let run = place.the_run();
    let window = &run.windows[0];
    assert!(window.profile.is_some() && window.facts.clocks.is_some(), "{:?}", window.facts.missing);
    let process = assert_sampled(window).process.clone();
    let hot = place.run(&["hot", "latest", "--process", &process]).out;
    assert!(hot.contains("Exec"), "the database's own functions: {hot}");
    let setup = one_line(&place.run(&["explain", "latest", "--section", "setup"]).out);
    assert!(setup.contains(&format!("{process} was sampled on ssh://10.213.0.3:2222")), "{setup}");
    for host in [1, THIRD] {
        await_none_serves_on(hosts, host, Duration::from_secs(5));
    }
    // The same without the target's host, and with the database's gone after the first window.
    let place = Place::new();
    let mut running = Running::start(chain.sweep(&place, &["--window", "500ms", "--replicates", "3"]));
    running.await_line("[1/3]");
    signal(serving_on(hosts, THIRD)[0], "-9");
    let ended = running.finish();
    assert!(ended.code <= 1, "{}\n{}", ended.out, ended.err);
    let run = place.the_run();
    assert_eq!(run.windows.len(), 3, "{}", ended.err);
    assert!(run.windows[0].facts.clocks.is_none());
    assert_sampled(&run.windows[0]);
    let last = &run.windows[2];
    let missing = last.facts.missing.iter().find(|missing| missing.what.as_str() == "companion on another host");
    let missing = missing.unwrap_or_else(|| panic!("{:?}", last.facts.missing));
    assert!(
        last.companions.is_empty() && missing.why.contains("of ssh://10.213.0.3:2222 was not sampled: the link"),
        "{missing:?}"
    );
}

#[test]
fn a_process_that_is_not_there_on_the_third_host_is_refused_before_anything_is_changed() {
    let Some(hosts) = Hosts::start(Duration::ZERO) else { return };
    let place = Place::new();
    let also = format!("{}/no-such-database", hosts.url(1));
    let own = ["sweep", "--preset", "generic", "--url", "postgres://x@10.213.0.2:1/x", "--query", "select 1"];
    let arguments = [&own[..], &["--levels", "1", "--also", &also, "--also-program", WIREPROF]].concat();
    let refused = answer(hosts.wireprof(place.path(), "ssh_config", &arguments).output().unwrap());
    refused.assert(2, &["on ssh://10.213.0.2:2222", "--also no-such-database: there is no such process"]);
    place.assert_no_run();
    await_none_serves_on(&hosts, 1, Duration::from_secs(5));
}
