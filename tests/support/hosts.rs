//! Two hosts of a test's own: network namespaces with a link between them that holds every packet for a while, and a
//! real sshd in the second one. Invariant: all of it is gone when its value is dropped, and nothing is sent to any
//! address but theirs.

#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::binaries::WIREPROF;
use crate::skip::skip;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Of the host that drives the load, and of the target's.
pub const ADDRESSES: [&str; 2] = ["10.213.0.1", "10.213.0.2"];
const SSH_PORT: &str = "2222";

/// The hosts.
pub struct Hosts {
    names: [String; 2],
    directory: tempfile::TempDir,
    sshd: Option<Child>,
    /// What the packets were really held, both ways.
    pub held: Arc<Held>,
}

/// How long packets were held.
#[derive(Default)]
pub struct Held {
    nanos: AtomicU64,
    packets: AtomicU64,
    /// Nothing passes.
    pub cut: AtomicBool,
}

impl Held {
    /// Mean ns of a packet until now.
    pub fn mean(&self) -> f64 {
        self.nanos.load(Ordering::Relaxed) as f64 / self.packets.load(Ordering::Relaxed).max(1) as f64
    }
}

fn ran(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

impl Hosts {
    /// `None`, with the reason printed, where this host does not permit it.
    pub fn start(delay: Duration) -> Option<Hosts> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let names = ["load", "target"].map(|end| format!("wireprof-{}-{number}-{end}", std::process::id()));
        for (what, program, arguments) in [
            ("OpenSSH's server is not installed: install the package `openssh-server`", "sshd", vec!["-V"]),
            ("iproute2 is not installed: install the package `iproute2`", "ip", vec!["-V"]),
        ] {
            let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
            // sshd before 9.3 has no -V, and says so; that it can be run is all that is asked.
            if Command::new(program).args(arguments).env("PATH", path).output().is_err() {
                skip(what);
                return None;
            }
        }
        let mut hosts =
            Hosts { names, directory: tempfile::tempdir().unwrap(), sshd: None, held: Arc::new(Held::default()) };
        if let Err(why) = hosts.connect(delay) {
            skip(format!("two hosts cannot be made of network namespaces here: {why}"));
            return None;
        }
        hosts.start_sshd();
        Some(hosts)
    }

    fn connect(&self, delay: Duration) -> Result<(), String> {
        let mut ends = Vec::new();
        for (name, address) in self.names.iter().zip(ADDRESSES) {
            for arguments in [
                vec!["netns", "add", name],
                vec!["-n", name, "link", "set", "lo", "up"],
                vec!["-n", name, "tuntap", "add", "dev", "wt0", "mode", "tun"],
                vec!["-n", name, "addr", "add", &format!("{address}/24"), "dev", "wt0"],
                vec!["-n", name, "link", "set", "wt0", "up"],
            ] {
                if !ran("ip", &arguments) {
                    return Err(format!("`ip {}` failed", arguments.join(" ")));
                }
            }
            ends.push(Arc::new(tun::open(name)?));
        }
        for (from, to) in [(0, 1), (1, 0)] {
            carry(ends[from].clone(), ends[to].clone(), delay, self.held.clone());
        }
        Ok(())
    }

    fn start_sshd(&mut self) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        for key in ["host", "client"] {
            assert!(ran("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]));
        }
        let sshd = format!(
            "Port {SSH_PORT}\nListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile {}\nPasswordAuthentication no\nPermitRootLogin yes\n",
            ADDRESSES[1],
            path("host"),
            path("client.pub"),
            path("pid")
        );
        std::fs::write(path("sshd_config"), sshd).unwrap();
        let known = std::fs::read_to_string(path("host.pub")).unwrap();
        std::fs::write(path("known"), format!("[{}]:{SSH_PORT} {known}", ADDRESSES[1])).unwrap();
        let ssh = |identity: &str| {
            format!("Host *\n  IdentityFile {identity}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n", path("known"))
        };
        std::fs::write(path("ssh_config"), ssh(&path("client"))).unwrap();
        std::fs::write(path("no_key"), ssh(&path("nothing"))).unwrap();
        // Where it separates privileges; the package's service makes it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut sshd = self.on(1, "/usr/sbin/sshd");
        sshd.args(["-D", "-f", &path("sshd_config")]).stdin(Stdio::null()).stderr(Stdio::null());
        self.sshd = Some(sshd.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.ssh("true").status().unwrap().success() {
            assert!(Instant::now() < deadline, "sshd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A program on one of the hosts.
    pub fn on(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.names[host])).arg(program);
        command
    }

    /// Whether a process is on one of the hosts.
    pub fn has(&self, host: usize, pid: u32) -> bool {
        use std::os::unix::fs::MetadataExt;
        let own = std::fs::metadata(format!("/proc/{pid}/ns/net")).map(|file| file.ino());
        own.ok() == std::fs::metadata(format!("/run/netns/{}", self.names[host])).map(|file| file.ino()).ok()
    }

    /// A shell command there, over ssh.
    pub fn ssh(&self, shell: &str) -> Command {
        let mut ssh = self.on(0, "ssh");
        ssh.args(["-F", &self.config("ssh_config"), "-o", "BatchMode=yes", "-p", SSH_PORT, ADDRESSES[1], shell]);
        ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ssh
    }

    fn config(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// wireprof beside the load, in a directory; `config`: the ssh configuration that it uses.
    pub fn wireprof(&self, directory: &Path, config: &str, arguments: &[&str]) -> Command {
        let mut command = self.on(0, WIREPROF);
        command.args(arguments).current_dir(directory).stdin(Stdio::null());
        command.env("WIREPROF_SSH", format!("ssh -F {}", self.config(config)));
        for variable in ["COLUMNS", "WIREPROF_RUNS", "PGPASSWORD", "PGPASSFILE"] {
            command.env_remove(variable);
        }
        command
    }

    /// The target's host as an argument, with the program that is there anyhow.
    pub fn target_host(&self) -> [String; 4] {
        let host = format!("ssh://{}:{SSH_PORT}", ADDRESSES[1]);
        ["--target-host".into(), host, "--target-program".into(), WIREPROF.into()]
    }

    /// A script that runs a program on the target's host.
    pub fn script(&self, program: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.directory.path().join("on-target");
        let net = format!("--net=/run/netns/{}", self.names[1]);
        std::fs::write(&path, format!("#!/bin/sh\nexec nsenter {net} {} \"$@\"\n", program.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.held.cut.store(false, Ordering::Relaxed);
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
        for name in &self.names {
            ran("ip", &["netns", "del", name]);
        }
    }
}

/// Packets on their way, each with when it came.
type Waiting = VecDeque<(Instant, Vec<u8>)>;

/// Carries packets one way, each for as long as it is to be held, on threads of its own until the device is gone.
fn carry(from: Arc<File>, to: Arc<File>, delay: Duration, held: Arc<Held>) {
    let queue: Arc<(Mutex<Waiting>, Condvar)> = Arc::default();
    let filled = queue.clone();
    let cut = held.clone();
    std::thread::spawn(move || {
        tun::hurry();
        let mut packet = [0; 65_536];
        while let Ok(length @ 1..) = (&*from).read(&mut packet) {
            if cut.cut.load(Ordering::Relaxed) {
                continue;
            }
            filled.0.lock().unwrap().push_back((Instant::now(), packet[..length].to_vec()));
            filled.1.notify_one();
        }
    });
    std::thread::spawn(move || {
        tun::hurry();
        loop {
            let (came, packet) = {
                let mut waiting = queue.0.lock().unwrap();
                loop {
                    match waiting.pop_front() {
                        Some(next) => break next,
                        None => waiting = queue.1.wait(waiting).unwrap(),
                    }
                }
            };
            std::thread::sleep((came + delay).saturating_duration_since(Instant::now()));
            if (&*to).write_all(&packet).is_err() && to.metadata().is_err() {
                return;
            }
            held.nanos.fetch_add(came.elapsed().as_nanos() as u64, Ordering::Relaxed);
            held.packets.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// What the standard library has no call for.
mod tun {
    use super::*;

    /// The device `wt0` of a namespace, packet by packet (Documentation/networking/tuntap.rst of the kernel).
    pub fn open(namespace: &str) -> Result<File, String> {
        const IFF_TUN: i16 = 1;
        const IFF_NO_PI: i16 = 0x1000;
        let path = format!("/run/netns/{namespace}");
        std::thread::spawn(move || {
            let net = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
            // SAFETY: setns takes a descriptor, which lives here, and changes this thread only, which ends below.
            if unsafe { libc::setns(net.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(format!("setns: {}", std::io::Error::last_os_error()));
            }
            let tun = File::options().read(true).write(true).open("/dev/net/tun");
            let tun = tun.map_err(|error| format!("/dev/net/tun: {error}"))?;
            // `struct ifreq`: the name, then flags, in 40 bytes (linux/if.h).
            let mut request = [0_u8; 40];
            request[..3].copy_from_slice(b"wt0");
            request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
            // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which `request` has the size of.
            if unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, request.as_mut_ptr()) } != 0 {
                return Err(format!("TUNSETIFF: {}", std::io::Error::last_os_error()));
            }
            Ok(tun)
        })
        .join()
        .unwrap()
    }

    /// This thread sleeps exactly, and goes before others where that is permitted: it stands for a wire.
    pub fn hurry() {
        let first = libc::sched_param { sched_priority: 1 };
        // SAFETY: both calls concern this thread; the second reads `first`, which lives here.
        unsafe {
            libc::prctl(libc::PR_SET_TIMERSLACK, 1);
            libc::sched_setscheduler(0, libc::SCHED_FIFO, &first);
        }
    }
}
