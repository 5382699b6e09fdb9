//! The servers that are unlike the testbed: each is compiled once, by what is installed here, and started on a port of
//! its own. Invariant: a server is gone when its value is dropped.

use crate::skip::skip;
use crate::sweeps::Place;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/measuring/unlike");

/// In C: a thread or a process for each connection, or one event loop. `None`, with the reason printed, where it
/// cannot be compiled; so of the others.
pub fn c() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let reason = "no C compiler: install the package `gcc`";
    compiled(&PROGRAM, reason, |program| {
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-g", "-pthread", "-o"]).arg(program).arg(format!("{SOURCES}/server.c"));
        compiler
    })
}

/// In Go: a goroutine for each connection.
pub fn go() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let reason = "Go is not installed: install the package `golang-go`";
    compiled(&PROGRAM, reason, |program| {
        let mut compiler = Command::new("go");
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        compiler.env("GOCACHE", cache).env("GOFLAGS", "-mod=mod").args(["build", "-o"]).arg(program);
        compiler.arg(format!("{SOURCES}/server.go"));
        compiler
    })
}

type Program = OnceLock<Option<(tempfile::TempDir, PathBuf)>>;

fn compiled(
    program: &'static Program,
    without: &str,
    compiler: impl FnOnce(&Path) -> Command,
) -> Option<&'static Path> {
    let built = program.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("bookshop");
        let status = compiler(&program).status().ok()?;
        assert!(status.success(), "the server does not compile");
        Some((directory, program))
    });
    if built.is_none() {
        skip(without);
    }
    built.as_ref().map(|(_, program)| program.as_path())
}

/// In Rust, on an old tokio: a task for each connection.
pub fn old_tokio() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("old-tokio");
    let cargo = |verb: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        let manifest = format!("{SOURCES}/old-tokio/Cargo.toml");
        // Whatever this test was built with is not meant for that program.
        cargo.env_remove("RUSTFLAGS").args([verb, "--quiet", "--locked", "--manifest-path", &manifest]);
        cargo
    };
    if !cargo("fetch").status().unwrap().success() {
        skip("the crates of the server with an old tokio cannot be fetched");
        return None;
    }
    let built = cargo("build").arg("--offline").arg("--target-dir").arg(&target).status().unwrap();
    assert!(built.success(), "the server does not compile");
    Some(target.join("debug/old-tokio"))
}

pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts `PROGRAM PORT ARGUMENT...`; it listens when this returns.
    pub fn start(program: &Path, arguments: &[&str]) -> Server {
        let port = free_port();
        let mut command = Command::new(program);
        command.arg(port.to_string()).args(arguments);
        Server::listening(&mut command, port)
    }

    /// Starts a command that listens on this port.
    pub fn listening(command: &mut Command, port: u16) -> Server {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let server = Server { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A preset for any server that has children: its path.
pub fn with_children(place: &Place) -> String {
    let preset = place.path().join("bookshop.toml");
    std::fs::write(&preset, "inherits = \"generic\"\n[process]\nchildren = true\n").unwrap();
    preset.to_str().unwrap().to_string()
}
