//! A PostgreSQL server of a test's own: in a temporary directory, on a free port of 127.0.0.1, under an unprivileged
//! user when the test runs as root. Invariant: it is gone, with its directory, when the value is dropped.

#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::skip::skip;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::load::{Address, run_script};

pub struct Postgres {
    directory: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

/// Which roles authenticate how; everybody else by trust.
const HBA: &str = "local all all trust
host all by_scram 127.0.0.1/32 scram-sha-256
host all by_md5 127.0.0.1/32 md5
host all by_password 127.0.0.1/32 password
host all all 127.0.0.1/32 trust
";

const ROLES: &str = "set password_encryption = 'scram-sha-256';
create role by_scram login password 'scram secret';
create role by_password login password 'plain secret';
set password_encryption = 'md5';
create role by_md5 login password 'md5 secret'";

impl Postgres {
    /// Starts a server, with further lines of postgresql.conf; `None`, with the reason printed, where there is none
    /// to start.
    pub fn start(settings: &str) -> Option<Self> {
        let Some(bin) = binaries() else {
            skip("no PostgreSQL server found; install the package `postgresql`");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let mut initdb = Command::new(bin.join("initdb"));
        initdb
            .args(["-U", "postgres", "-A", "trust", "-N", "--no-instructions", "-D"])
            .arg(&data)
            .stdout(Stdio::null());
        assert!(run_as(&mut initdb, user, directory.path()).status().unwrap().success(), "initdb");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        certificate(&data, user);
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 300\n\
             fsync = off\nshared_buffers = 32MB\nautovacuum = off\nlogging_collector = off\n{settings}\n",
            directory.path().display()
        );
        fs::write(data.join("postgresql.conf"), conf).unwrap();
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut server = Command::new(bin.join("postgres"));
        server.arg("-D").arg(&data).stdout(Stdio::null()).stderr(log);
        let child = run_as(&mut server, user, directory.path()).spawn().unwrap();
        let server = Postgres { directory, child, port };
        server.await_ready();
        server.run(&ROLES.split(";\n").collect::<Vec<_>>());
        Some(server)
    }

    fn await_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = run_script(&self.address("postgres"), &["select 1".into()], Duration::from_secs(5)) {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{error}\n{}", log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    pub fn address(&self, user: &str) -> Address {
        parse(&self.url(user))
    }

    /// The directory that holds the socket and the log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("data/server.crt")
    }

    pub fn run(&self, statements: &[&str]) {
        let statements: Vec<String> = statements.iter().map(|sql| sql.to_string()).collect();
        run_script(&self.address("postgres"), &statements, Duration::from_secs(20)).unwrap();
    }

    /// The first column of the first row as text.
    pub fn value(&self, sql: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = self.address("postgres").config().connect(tokio_postgres::NoTls).await.unwrap();
            let task = tokio::spawn(connection);
            let rows = client.simple_query(sql).await.unwrap();
            drop(client);
            task.await.unwrap().unwrap();
            rows.iter()
                .find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(String::from),
                    _ => None,
                })
                .unwrap()
        })
    }

    /// Ends the server as its administrator would, sessions included.
    pub fn shut_down(&mut self) {
        self.end("-INT");
    }

    /// Sends the signal to the server's first process and waits for its end.
    fn end(&mut self, signal: &str) {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.end("-QUIT");
        }
    }
}

/// An address without the caller's PGPASSWORD and password file.
pub fn parse(url: &str) -> Address {
    Address::parse_in(url, &|_| None).unwrap()
}

/// The server's program, where it is installed.
pub fn program() -> Option<PathBuf> {
    binaries().and_then(|bin| bin.join("postgres").canonicalize().ok())
}

fn binaries() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // That of PATH may be the tests' own (tests/support/initdb).
    let here = |dir: &PathBuf| dir.join("initdb").exists() && dir.join("postgres").exists();
    std::env::split_paths(&path).chain(installed).find(here)
}

/// PostgreSQL refuses to run as root.
pub fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

pub fn run_as<'a>(command: &'a mut Command, user: Option<(u32, u32)>, directory: &Path) -> &'a mut Command {
    command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// A certificate for `localhost`, signed by itself; without openssl the server has none.
fn certificate(data: &Path, user: Option<(u32, u32)>) {
    let mut openssl = Command::new("openssl");
    // Made in no time, unlike a key of RSA.
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-keyout", "server.key", "-out", "server.crt"]).stderr(Stdio::null()).stdout(Stdio::null());
    let made = run_as(&mut openssl, user, data).status();
    assert!(made.is_ok_and(|status| status.success()), "openssl made no certificate");
}
