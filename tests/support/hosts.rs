//! Two hosts of a test's own, or three: network namespaces with a network between them that holds every packet for a
//! while, and a real sshd in each but the first. Invariant: all of it is gone when its value is dropped, and nothing is
//! sent to any address but theirs.

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

/// Of the host that drives the load, of the target's, and of a third one. The last number is the place in this list,
/// from 1.
pub const ADDRESSES: [&str; 3] = ["10.213.0.1", "10.213.0.2", "10.213.0.3"];
const SSH_PORT: &str = "2222";

/// The hosts.
pub struct Hosts {
    names: Vec<String>,
    directory: tempfile::TempDir,
    sshd: Vec<Child>,
    /// What the packets were really held, both ways.
    pub held: Arc<Held>,
}

/// How long packets were held.
#[derive(Default)]
pub struct Held {
    nanos: AtomicU64,
    packets: AtomicU64,
    /// Only packets that carry something from or to this port count; 0: all do.
    port: AtomicU32,
    /// Nothing passes.
    pub cut: AtomicBool,
}

impl Held {
    /// From now on only requests to this port and answers from it count. `rest`: the port, with a path behind it.
    pub fn count_port(&self, rest: &str) {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.port.store(digits.parse().unwrap(), Ordering::Relaxed);
        self.nanos.store(0, Ordering::Relaxed);
        self.packets.store(0, Ordering::Relaxed);
    }

    /// Whether a packet of IPv4 counts (RFC 791, RFC 9293: the lengths of both headers are in words of four bytes).
    fn counts(&self, packet: &[u8]) -> bool {
        let port = self.port.load(Ordering::Relaxed);
        let ip = usize::from(packet[0] & 15) * 4;
        let Some(tcp) = packet.get(ip..).filter(|tcp| tcp.len() >= 20 && packet[9] == 6) else { return port == 0 };
        let at = |byte: usize| u32::from(u16::from_be_bytes([tcp[byte], tcp[byte + 1]]));
        let carries = tcp.len() > usize::from(tcp[12] >> 4) * 4;
        port == 0 || carries && [at(0), at(2)].contains(&port)
    }

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
    /// Two of them; `None`, with the reason printed, where this host does not permit it.
    pub fn start(delay: Duration) -> Option<Hosts> {
        Hosts::start_of(2, delay)
    }

    /// So many of them.
    pub fn start_of(count: usize, delay: Duration) -> Option<Hosts> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: &&str| format!("wireprof-{}-{number}-{end}", std::process::id());
        let names = ["load", "target", "third"][..count].iter().map(name).collect();
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
            Hosts { names, directory: tempfile::tempdir().unwrap(), sshd: Vec::new(), held: Arc::new(Held::default()) };
        if let Err(why) = hosts.connect(delay) {
            skip(format!("two hosts cannot be made of network namespaces here: {why}"));
            return None;
        }
        hosts.start_sshds();
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
        carry(&ends, delay, &self.held);
        Ok(())
    }

    fn start_sshds(&mut self) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        for key in ["host", "client"] {
            assert!(ran("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]));
        }
        let known = std::fs::read_to_string(path("host.pub")).unwrap();
        let known = ADDRESSES.map(|address| format!("[{address}]:{SSH_PORT} {known}"));
        std::fs::write(path("known"), known.concat()).unwrap();
        let ssh = |identity: &str| {
            format!("Host *\n  IdentityFile {identity}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n", path("known"))
        };
        std::fs::write(path("ssh_config"), ssh(&path("client"))).unwrap();
        std::fs::write(path("no_key"), ssh(&path("nothing"))).unwrap();
        // Where it separates privileges; the package's service makes it.
        let _ = std::fs::create_dir_all("/run/sshd");
        for host in 1..self.names.len() {
            let sshd = self.start_sshd(host);
            self.sshd.push(sshd);
        }
    }

    fn start_sshd(&self, host: usize) -> Child {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let config = path(&format!("sshd_config-{host}"));
        let text = format!(
            "Port {SSH_PORT}\nListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile {}\nPasswordAuthentication no\nPermitRootLogin yes\n",
            ADDRESSES[host],
            path("host"),
            path("client.pub"),
            path(&format!("pid-{host}"))
        );
        std::fs::write(&config, text).unwrap();
        let mut sshd = self.on(host, "/usr/sbin/sshd");
        sshd.args(["-D", "-f", &config]).stdin(Stdio::null()).stderr(Stdio::null());
        let sshd = sshd.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.ssh_to(host, "true").status().unwrap().success() {
            assert!(Instant::now() < deadline, "sshd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        sshd
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

    /// Processes of wireprof on one of the hosts that run this verb.
    pub fn running(&self, host: usize, verb: &str) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let runs = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
            words.get(1) == Some(&verb.as_bytes()) && self.has(host, *pid)
        };
        pids.filter(runs).collect()
    }

    /// What is done on a thread that is on one of the hosts; so are the programs that it starts.
    pub fn within<T: Send>(&self, host: usize, what: impl FnOnce() -> T + Send) -> T {
        let name = &self.names[host];
        let there = || {
            tun::enter(name).unwrap();
            what()
        };
        std::thread::scope(|scope| scope.spawn(there).join().unwrap())
    }

    /// A shell command on the target's host, over ssh.
    pub fn ssh(&self, shell: &str) -> Command {
        self.ssh_to(1, shell)
    }

    fn ssh_to(&self, host: usize, shell: &str) -> Command {
        let mut ssh = self.on(0, "ssh");
        ssh.args(["-F", &self.config("ssh_config"), "-o", "BatchMode=yes", "-p", SSH_PORT, ADDRESSES[host], shell]);
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

    /// One of the hosts as wireprof is told it.
    pub fn url(&self, host: usize) -> String {
        format!("ssh://{}:{SSH_PORT}", ADDRESSES[host])
    }

    /// The target's host as an argument, with the program that is there anyhow.
    pub fn target_host(&self) -> [String; 4] {
        ["--target-host".into(), self.url(1), "--target-program".into(), WIREPROF.into()]
    }

    /// A script that runs a program on the target's host.
    pub fn script(&self, program: &Path) -> PathBuf {
        self.script_on(1, program)
    }

    /// A script that runs a program on one of the hosts.
    pub fn script_on(&self, host: usize, program: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.directory.path().join(format!("on-{host}"));
        let net = format!("--net=/run/netns/{}", self.names[host]);
        std::fs::write(&path, format!("#!/bin/sh\nexec nsenter {net} {} \"$@\"\n", program.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.held.cut.store(false, Ordering::Relaxed);
        for sshd in &mut self.sshd {
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

/// Carries packets between the hosts by their addresses, each for as long as it is to be held, on threads of its own
/// until the devices are gone.
fn carry(ends: &[Arc<File>], delay: Duration, held: &Arc<Held>) {
    let queues: Vec<Arc<(Mutex<Waiting>, Condvar)>> = ends.iter().map(|_| Arc::default()).collect();
    for from in ends {
        let (from, queues, held) = (from.clone(), queues.clone(), held.clone());
        std::thread::spawn(move || {
            tun::hurry();
            let mut packet = [0; 65_536];
            while let Ok(length @ 1..) = (&*from).read(&mut packet) {
                // Of IPv4 the last byte of the destination is in byte 19; what else there is goes nowhere.
                let to = (length >= 20 && packet[0] >> 4 == 4).then(|| usize::from(packet[19]));
                let Some(queue) = to.and_then(|to| queues.get(to.wrapping_sub(1))) else { continue };
                if !held.cut.load(Ordering::Relaxed) {
                    queue.0.lock().unwrap().push_back((Instant::now(), packet[..length].to_vec()));
                    queue.1.notify_one();
                }
            }
        });
    }
    for (to, queue) in ends.iter().zip(queues) {
        let (to, held) = (to.clone(), held.clone());
        std::thread::spawn(move || deliver(&to, &queue, delay, &held));
    }
}

/// Runs on a thread of its own: what is for one host.
fn deliver(to: &File, queue: &(Mutex<Waiting>, Condvar), delay: Duration, held: &Held) {
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
        if held.counts(&packet) {
            held.nanos.fetch_add(came.elapsed().as_nanos() as u64, Ordering::Relaxed);
            held.packets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the standard library has no call for.
mod tun {
    use super::*;

    /// This thread is in a namespace from now on.
    pub fn enter(namespace: &str) -> Result<(), String> {
        let path = format!("/run/netns/{namespace}");
        let net = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        // SAFETY: setns takes a descriptor, which lives here, and changes this thread only.
        if unsafe { libc::setns(net.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(format!("setns: {}", std::io::Error::last_os_error()));
        }
        Ok(())
    }

    /// The device `wt0` of a namespace, packet by packet (Documentation/networking/tuntap.rst of the kernel).
    pub fn open(namespace: &str) -> Result<File, String> {
        const IFF_TUN: i16 = 1;
        const IFF_NO_PI: i16 = 0x1000;
        let namespace = namespace.to_string();
        std::thread::spawn(move || {
            enter(&namespace)?;
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
