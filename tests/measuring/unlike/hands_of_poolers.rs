//! What carries the queries in the hands of a pooler, which is one event loop: each is read on one connection and
//! passed on over another, which it waits for where all are busy. PgBouncer in front of PostgreSQL.

use super::hands::followed;
use super::servers::{Server, free_port};
use crate::postgres::{Postgres, run_as, unprivileged};
use crate::skip::skip;
use std::path::Path;
use std::process::{Command, Stdio};
use wireprof::analyze::time::hands::Part;
use wireprof::carriers::State;

/// A pooler with so many connections to the database.
fn pooler(database: &Postgres, size: usize, directory: &Path) -> Option<Server> {
    // Debian's directory for it is not in everybody's PATH.
    let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let program = std::env::split_paths(&places).map(|place| place.join("pgbouncer")).find(|path| path.is_file());
    let Some(program) = program else {
        skip("PgBouncer is not installed: install the package `pgbouncer`");
        return None;
    };
    let port = free_port();
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = {size}\nignore_startup_parameters = extra_float_digits,options\n",
        database.port
    );
    let file = directory.join("pooler.ini");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(program);
    command.arg("--quiet").arg(&file).stderr(Stdio::null());
    Some(Server::listening(run_as(&mut command, unprivileged(), Path::new("/")), port))
}

#[test]
fn in_a_pooler_queries_wait_for_a_free_connection_and_then_behind_it() {
    let Some(database) = Postgres::start("") else { return };
    let query = "select count(*) from generate_series(1, 2000)";
    for (size, least) in [(1, 0.8), (10, 0.1)] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let Some(pooler) = pooler(&database, size, directory.path()) else { return };
        let followed = followed(&pooler.url(), "generic", query, 32);
        let (carried, port) = (&followed.level.facts.carried, database.port);
        assert_eq!((carried.loops, carried.threads, carried.tasks), (1, 1, 0));
        let before = followed.share(|part| part.state == State::BeforeHop { port });
        let behind = followed.share(|part| part.state == State::Behind { port });
        // The rest is the pooler's own CPU, and its waiting for one where the CPUs are busy.
        assert!(before + behind > 0.8, "{before} + {behind}: {:#?}", followed.level.parts);
        let turn = carried.turns[&port];
        let busy = turn.all_busy as f64 / turn.nanos as f64;
        assert!(before * busy > least, "{size}: {busy} of {before} is for want of a connection: {carried:#?}");
        let told = format!("not passed on yet to port {port}: all connections to it are busy");
        assert!(one_line(&followed.told).contains(&told), "{}", followed.told);
    }
}

/// A table's cells may go over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn with_one_client_a_pooler_waits_for_the_database_and_a_thread_of_another_process_ends_that() {
    let Some(database) = Postgres::start("") else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let Some(pooler) = pooler(&database, 10, directory.path()) else { return };
    let followed = followed(&pooler.url(), "generic", "select count(*) from generate_series(1, 2000)", 1);
    let waits = |part: &Part| part.state == State::Blocked;
    let behind = |part: &Part| waits(part) && part.behind == Some(database.port);
    assert!(followed.share(behind) > 0.95 * followed.share(waits), "{:#?}", followed.level.parts);
    let ender = followed.level.parts.iter().find(|part| behind(part)).and_then(|part| part.ended_by.first()).unwrap();
    assert_eq!(ender.0, "a thread of another process");
}
