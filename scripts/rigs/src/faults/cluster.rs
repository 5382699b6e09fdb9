//! A private PostgreSQL for a round, of a cluster that is made once. Invariant: it listens on loopback and in its own
//! directory only, and is gone when its value is dropped.

use anyhow::{Context, Result, bail, ensure};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::child::{self, die_with_parent};

/// PostgreSQL's programs, and as whom they run.
#[derive(Clone)]
pub struct Programs {
    directory: PathBuf,
    user: Option<(u32, u32)>,
}

pub struct Cluster {
    programs: Programs,
    directory: PathBuf,
    pub port: u16,
    server: Child,
}

/// What a measurement may not change: settings, tables, extensions, and what is set of roles.
const STATE: &str = "select name || '=' || setting from pg_settings where source <> 'client' \
    and name not in ('in_hot_standby', 'transaction_isolation', 'transaction_deferrable', 'transaction_read_only') \
    union all select 'table ' || oid::regclass from pg_class where relnamespace = 'public'::regnamespace \
    union all select 'extension ' || extname from pg_extension \
    union all select 'role ' || setrole || ' ' || setconfig::text from pg_db_role_setting order by 1";

impl Programs {
    pub fn find() -> Result<Programs> {
        let directory = wireprof::testbed::postgres_binaries()?;
        Ok(Programs { directory, user: if child::is_root() { Some(unprivileged()?) } else { None } })
    }

    /// Beside the server's programs, else of PATH, as Debian has its clients there.
    fn path(&self, program: &str) -> PathBuf {
        Some(self.directory.join(program)).filter(|path| path.is_file()).unwrap_or_else(|| program.into())
    }

    fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(self.path(program));
        command.current_dir(directory).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.user {
            Some((user, group)) => Ok(std::os::unix::fs::chown(path, Some(user), Some(group))?),
            None => Ok(()),
        }
    }

    /// The cluster that those of the rounds are copies of.
    pub fn make(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir(directory)?;
        self.own(directory)?;
        let mut init = self.command("initdb", directory);
        init.args(["-U", "postgres", "-A", "trust", "-N", "--locale=C", "--encoding=UTF8", "-D", "data"]);
        let output = init.output().context("cannot run initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let cluster = Cluster::start(self, directory)?;
        cluster.ask("create extension pg_stat_statements")?;
        Ok(())
    }

    /// Drives load on a server until it is killed.
    pub fn load(&self, port: u16, directory: &Path) -> Result<Child> {
        let script = directory.join("load.sql");
        std::fs::write(&script, "select 1\n")?;
        let mut pgbench = Command::new(self.path("pgbench"));
        pgbench.args([
            "-n",
            "-c",
            "2",
            "-T",
            "300",
            "-U",
            "postgres",
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-f",
        ]);
        pgbench.arg(script).arg("postgres").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        die_with_parent(&mut pgbench, libc::SIGKILL);
        pgbench.spawn().context("cannot run pgbench")
    }
}

/// PostgreSQL does not run as root.
fn unprivileged() -> Result<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let line = line.or_else(|| passwd.lines().find(|line| line.starts_with("nobody:"))).context("no user postgres")?;
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).context("/etc/passwd");
    Ok((number()?, number()?))
}

impl Cluster {
    /// A copy of `template`, running.
    pub fn copy(programs: &Programs, template: &Path, directory: &Path) -> Result<Cluster> {
        let status = Command::new("cp").arg("-a").arg(template).arg(directory).status()?;
        ensure!(status.success(), "cp -a {} {}", template.display(), directory.display());
        // Somebody else may have taken the port that was free.
        (0..2)
            .find_map(|_| Cluster::start(programs, directory).ok())
            .map_or_else(|| Cluster::start(programs, directory), Ok)
    }

    fn start(programs: &Programs, directory: &Path) -> Result<Cluster> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = spawn(programs, directory, port)?;
        let mut cluster = Cluster { programs: programs.clone(), directory: directory.to_path_buf(), port, server };
        cluster.await_ready()?;
        Ok(cluster)
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.ask("select 1") {
            let ended = !matches!(self.server.try_wait(), Ok(None));
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.join("log"))?;
                bail!("PostgreSQL does not start: {error:#}: {log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Rows of a query, a line each.
    pub fn ask(&self, query: &str) -> Result<String> {
        let mut psql = self.programs.command("psql", &self.directory);
        psql.args(["-XAtq", "-U", "postgres", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", query]);
        let output = psql.arg("postgres").env("PGCONNECT_TIMEOUT", "5").output().context("cannot run psql")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What may not change; `None`: it does not answer.
    pub fn state(&self) -> Option<String> {
        self.ask(STATE).ok()
    }

    pub fn url(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    pub fn pid(&self) -> u32 {
        self.server.id()
    }
}

fn spawn(programs: &Programs, directory: &Path, port: u16) -> Result<Child> {
    let mut command = programs.command("postgres", directory);
    command.args(["-D", "data", "-p", &port.to_string(), "-k"]).arg(directory);
    let settings = ["listen_addresses=127.0.0.1", "fsync=off", "shared_preload_libraries=pg_stat_statements"];
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.stdout(Stdio::null()).stderr(std::fs::File::create(directory.join("log"))?);
    die_with_parent(&mut command, libc::SIGQUIT);
    command.spawn().context("cannot run postgres")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Stopped by the round, perhaps.
        child::signal(self.pid(), libc::SIGCONT);
        child::signal(self.pid(), libc::SIGQUIT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.server.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
