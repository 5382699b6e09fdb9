//! A real PostgreSQL in a private directory: found, initialised, started, and ended with the testbed. Invariant: the
//! postmaster is a direct child with a death signal, listens on 127.0.0.1 and a socket in the directory only, and is
//! gone, with its directory, when the value is dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::scratch::{self, Scratch};
use wireprof::child::{self, User};

/// There is nothing to run on this machine: the environment's fault, not the user's or ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "no PostgreSQL server found (looked for initdb and postgres in {looked}); install it (Debian, Ubuntu: apt-get \
     install postgresql) or name its directory with --postgres-bin"
)]
pub struct NoPostgres {
    looked: String,
}

pub struct PostgresServer {
    child: Child,
    port: u16,
    superuser: String,
    scratch: Scratch,
}

impl PostgresServer {
    /// Initialises and starts a server; returns when it accepts connections. Must be called from a thread that lives
    /// as long as the process (see `child`).
    pub fn start(binaries: Option<&Path>) -> Result<Self> {
        scratch::remove_stale();
        let binaries = find_binaries(binaries)?;
        let user = if child::is_root() { Some(unprivileged_user()?) } else { None };
        let scratch = Scratch::create(user.as_ref())?;
        initialise(&binaries, scratch.path(), user.as_ref())?;
        let mut tries = 0;
        loop {
            tries += 1;
            match launch(&binaries, scratch.path(), user.as_ref()) {
                Ok((child, port)) => {
                    return Ok(PostgresServer { child, port, superuser: "postgres".to_owned(), scratch });
                }
                // Between choosing a free port and PostgreSQL binding it somebody else may have taken it.
                Err(error) if tries < 5 && error.to_string().contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The URL by which it is reached at another port of this host.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://{}@127.0.0.1:{port}/postgres", self.superuser)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The log's last lines if the server has ended by itself, `None` while it runs.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("PostgreSQL ended ({status}): {}", log_tail(self.scratch.path()))),
            Err(error) => Some(format!("PostgreSQL cannot be waited for: {error}")),
        }
    }

    fn stop(&mut self) {
        // Fast, then immediate shutdown (pg_ctl's words for SIGINT and SIGQUIT), then no more words.
        for (signal, patience) in [(libc::SIGINT, 5), (libc::SIGQUIT, 3), (libc::SIGKILL, 3)] {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            child::signal(self.child.id(), signal);
            let deadline = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `initdb` and `postgres` in the same directory: the one named, else of PATH, else the newest of Debian's.
pub fn find_binaries(named: Option<&Path>) -> Result<PathBuf> {
    let candidates = match named {
        Some(directory) => vec![directory.to_owned()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).chain(debian_directories()).collect()
        }
    };
    let complete = |directory: &&PathBuf| directory.join("initdb").is_file() && directory.join("postgres").is_file();
    let looked = match named {
        Some(directory) => directory.display().to_string(),
        None => "PATH and /usr/lib/postgresql/*/bin".to_owned(),
    };
    candidates.iter().find(complete).cloned().ok_or_else(|| NoPostgres { looked }.into())
}

fn debian_directories() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, directory)| directory).collect()
}

/// PostgreSQL refuses to run as root: `postgres` if there is such a user, else `nobody`.
fn unprivileged_user() -> Result<User> {
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd to find an unprivileged user")?;
    ["postgres", "nobody"].iter().find_map(|name| user_named(&passwd, name)).context(
        "PostgreSQL refuses to run as root and there is neither a user postgres nor nobody; start the testbed as an \
         ordinary user",
    )
}

fn user_named(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let user = User { name: name.to_owned(), uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? };
        (fields[0] == name).then_some(user)
    })
}

fn command_as(program: PathBuf, directory: &Path, user: Option<&User>, death_signal: i32) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C").env_remove("PGDATA").stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    child::die_with_parent(&mut command, death_signal);
    command
}

fn initialise(binaries: &Path, directory: &Path, user: Option<&User>) -> Result<()> {
    let program = binaries.join("initdb");
    let output = command_as(program.clone(), directory, user, libc::SIGKILL)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
        .arg(directory.join("data"))
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn launch(binaries: &Path, directory: &Path, user: Option<&User>) -> Result<(Child, u16)> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr())?.port();
    let log = fs::File::create(directory.join("postgres.log"))?;
    let program = binaries.join("postgres");
    // SIGQUIT is an immediate shutdown: it takes the backends along and frees the shared memory.
    let mut command = command_as(program.clone(), directory, user, libc::SIGQUIT);
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory.join("socket"));
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "max_connections=300".to_owned(),
        "shared_preload_libraries=pg_stat_statements".to_owned(),
        "fsync=off".to_owned(),
        "synchronous_commit=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    command.stdout(Stdio::null()).stderr(log);
    let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    wait_until_ready(child, directory).map(|child| (child, port))
}

/// The eighth line of postmaster.pid becomes "ready" when connections are accepted (PostgreSQL 10 and later).
fn wait_until_ready(mut child: Child, directory: &Path) -> Result<Child> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
        if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            bail!("PostgreSQL did not start ({status}): {}", log_tail(directory));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            bail!("PostgreSQL was not ready within 60 s: {}", log_tail(directory));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn log_tail(directory: &Path) -> String {
    let log = fs::read_to_string(directory.join("postgres.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_postgres_is_refused_with_the_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let error = find_binaries(Some(empty.path())).unwrap_err();
        assert!(error.downcast_ref::<NoPostgres>().is_some());
        let text = error.to_string();
        assert!(text.contains(&empty.path().display().to_string()) && text.contains("apt-get install postgresql"));
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let expected = User { name: "postgres".to_owned(), uid: 101, gid: 104 };
        assert_eq!(user_named(passwd, "postgres"), Some(expected));
        assert_eq!(user_named(passwd, "nobody"), None);
    }
}
