//! The reader of pg_stat_statements against a real PostgreSQL, where its server binaries are installed.

use crate::skip::skip;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};
use wireprof::statements::{PgStatStatements, StatementSource, StatementsDelta, StatementsError};

/// Where Debian and others put the server's programs.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).filter(|b| b.join("initdb").exists()).max();
    found.or_else(|| Some(PathBuf::from("/usr/bin")).filter(|b| b.join("initdb").exists()))
}

/// A PostgreSQL of the test's own, stopped with it; as root it runs as `nobody`.
struct Postgres {
    child: Child,
    directory: tempfile::TempDir,
}

const NOBODY: u32 = 65_534;

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    // SAFETY: geteuid only reads the process' credentials.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Postgres {
    fn start(binaries: &Path, preload: &str) -> Postgres {
        let directory = tempfile::tempdir().unwrap();
        // SAFETY: geteuid only reads the process' credentials.
        if unsafe { libc::geteuid() } == 0 {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = directory.path().join("data");
        let made = unprivileged(&binaries.join("initdb"))
            .args(["--auth=trust", "--no-sync", "--username=postgres", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let settings =
            ["fsync=off", "listen_addresses=", &format!("shared_preload_libraries={preload}")].map(String::from);
        let mut command = unprivileged(&binaries.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(directory.path());
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        Postgres { child: command.spawn().unwrap(), directory }
    }

    async fn connect(&self, user: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.directory.path()).user(user).dbname("postgres");
        for _ in 0..200 {
            if let Ok((client, connection)) = config.connect(NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL does not come up");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SAFETY: the child has not been waited for, so its id is still its own. SIGINT is a fast shutdown.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn statements_are_counted_between_two_readings() {
    let Some(binaries) = binaries() else { return skip("no PostgreSQL server found") };
    let postgres = Postgres::start(&binaries, "pg_stat_statements");
    let client = postgres.connect("postgres").await;
    let missing = PgStatStatements::open(postgres.connect("postgres").await, "here").await.err().unwrap();
    assert!(matches!(missing, StatementsError::ExtensionMissing), "{missing}");
    assert!(missing.to_string().ends_with("CREATE EXTENSION pg_stat_statements"));

    client
        .batch_execute("CREATE SCHEMA \"Odd one\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Odd one\"")
        .await
        .unwrap();
    let reader = PgStatStatements::open(postgres.connect("postgres").await, "postgres://here").await.unwrap();
    client.simple_query("SELECT 1 AS former").await.unwrap();
    let before = reader.snapshot().await.unwrap();
    for _ in 0..7 {
        client.simple_query("SELECT generate_series(1,\n 3) AS wanted").await.unwrap();
    }
    let after = reader.snapshot().await.unwrap();
    assert!(after.source.starts_with("pg_stat_statements 1.") && after.source.ends_with(" at postgres://here"));
    let delta = StatementsDelta::between(&before, &after);
    let wanted = delta.statement("SELECT generate_series($1, $2) AS wanted").unwrap_or_else(|| panic!("{delta:?}"));
    assert_eq!((wanted.calls, wanted.rows, wanted.plan, wanted.new), (7, 21, None, true));
    assert!(wanted.exec > 0 && wanted.mean_exec().unwrap() < 1e9, "{wanted:?}");
    assert_eq!(delta.statement("SELECT $1 AS former"), None, "not called in between");
    assert_eq!(delta.vanished, 0);

    client.simple_query("ALTER SYSTEM SET pg_stat_statements.track_planning = on").await.unwrap();
    client.simple_query("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = postgres.connect("postgres").await;
    let reader = PgStatStatements::open(postgres.connect("postgres").await, "here").await.unwrap();
    let before = reader.snapshot().await.unwrap();
    client.simple_query("SELECT upper('planned')").await.unwrap();
    let delta = StatementsDelta::between(&before, &reader.snapshot().await.unwrap());
    assert!(delta.statement("SELECT upper($1)").unwrap().plan.is_some_and(|ns| ns > 0), "{delta:?}");
}

#[tokio::test]
async fn an_extension_that_is_not_loaded_is_said_with_its_remedy() {
    let Some(binaries) = binaries() else { return skip("no PostgreSQL server found") };
    let postgres = Postgres::start(&binaries, "");
    let client = postgres.connect("postgres").await;
    client.simple_query("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let error = PgStatStatements::open(client, "here").await.err().unwrap();
    assert!(matches!(error, StatementsError::NotLoaded), "{error}");
    assert!(error.to_string().contains("shared_preload_libraries"));
}
