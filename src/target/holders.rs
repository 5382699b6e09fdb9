//! Who holds the server's ends of its connections: the process that listens, or children of it. Invariant: what may
//! not be looked at is not known, which is not "nobody".

use super::locate::{bound, sockets};
use super::process::family;
use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::Process;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Of a process that listens and its descendants, those that hold the server's ends of connections to where it listens,
/// over TCP or Unix sockets; empty where there are none, or none that this user may see the holder of.
pub fn holders(pid: u32) -> BTreeSet<u32> {
    let own = sockets(pid);
    let mut ends = tcp_ends(pid, &own);
    ends.extend(unix_ends(pid, &own));
    if ends.is_empty() {
        return BTreeSet::new();
    }
    family(pid).into_iter().filter(|process| !sockets(*process).is_disjoint(&ends)).collect()
}

/// Inodes of established connections to the ports that a process with these sockets listens on, in its own network
/// namespace.
fn tcp_ends(pid: u32, own: &BTreeSet<u64>) -> BTreeSet<u64> {
    let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { return BTreeSet::new() };
    let entries: Vec<TcpNetEntry> = [process.tcp(), process.tcp6()].into_iter().flatten().flatten().collect();
    let of = |state: TcpState| entries.iter().filter(move |entry| entry.state == state);
    let listening = of(TcpState::Listen).filter(|entry| own.contains(&entry.inode));
    let ports: BTreeSet<u16> = listening.map(|entry| entry.local_address.port()).collect();
    let ends = of(TcpState::Established).filter(|entry| ports.contains(&entry.local_address.port()));
    ends.map(|entry| entry.inode).filter(|inode| *inode != 0).collect()
}

/// The same of Unix sockets: a server's end bears the name of the socket that listens.
fn unix_ends(pid: u32, own: &BTreeSet<u64>) -> BTreeSet<u64> {
    let text = std::fs::read(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let listening = bound(&text).filter(|(listens, inode, _)| *listens && own.contains(inode));
    let names: BTreeSet<PathBuf> = listening.map(|(_, _, name)| name.to_path_buf()).collect();
    bound(&text).filter(|(listens, _, name)| !listens && names.contains(*name)).map(|(_, inode, _)| inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    #[test]
    fn a_connection_is_held_by_who_accepted_it_and_by_a_child_that_has_it_too() {
        let own = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = BTreeSet::from([inode(&listener)]);
        let held = || family(own).into_iter().filter(|pid| !sockets(*pid).is_disjoint(&tcp_ends(own, &port))).collect();
        let held: &dyn Fn() -> BTreeSet<u32> = &held;
        assert_eq!(held(), BTreeSet::new(), "nobody is connected");
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(held(), BTreeSet::from([own]));
        assert!(holders(own).contains(&own));
        let handed = std::os::fd::OwnedFd::from(accepted);
        let mut child = Command::new("sleep").arg("30").stdin(Stdio::from(handed)).spawn().unwrap();
        assert_eq!(held(), BTreeSet::from([child.id()]), "this process has let go of it");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_connection_to_a_unix_socket_is_held_too() {
        let (own, folder) = (std::process::id(), tempfile::tempdir().unwrap());
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let ends = || unix_ends(own, &BTreeSet::from([inode(&listener)]));
        assert_eq!(ends(), BTreeSet::new());
        let _client = UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(ends(), BTreeSet::from([inode(&accepted)]));
    }

    fn inode(socket: &impl std::os::fd::AsRawFd) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }
}
