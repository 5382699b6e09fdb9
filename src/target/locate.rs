//! Finding the process behind a port. Invariant: exactly one process is answered, the one that listens; where several
//! share the socket (a forked family), it is their common ancestor among them.

use super::{Forbidden, comm, parent, processes};
use std::collections::BTreeSet;

/// The process that listens on a local TCP port.
pub fn listener(port: u16) -> Result<u32, Forbidden> {
    let inodes = listening_inodes(port);
    let failed = |cause: String, remedy: &str| Forbidden {
        what: format!("finding the process that listens on port {port}"),
        cause,
        remedy: remedy.into(),
    };
    if inodes.is_empty() {
        return Err(failed(
            "nothing on this host listens there".into(),
            "start the server, or give its port in --url; for a server on another host use --no-sampling",
        ));
    }
    let holders: BTreeSet<u32> = processes().into_iter().filter(|pid| holds(*pid, &inodes)).collect();
    holders.iter().copied().find(|pid| parent(*pid).is_none_or(|parent| !holders.contains(&parent))).ok_or_else(|| {
        failed(
            "something listens there, but its process does not show its open files to this user".into(),
            "run as root or as the server's user, or give --pid",
        )
    })
}

fn listening_inodes(port: u16) -> BTreeSet<u64> {
    let four = procfs::net::tcp().unwrap_or_default();
    let six = procfs::net::tcp6().unwrap_or_default();
    let listening = four.into_iter().chain(six).filter(|entry| entry.state == procfs::net::TcpState::Listen);
    listening.filter(|entry| entry.local_address.port() == port).map(|entry| entry.inode).collect()
}

/// Whether a process has one of these sockets open.
fn holds(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).any(|link| {
        let name = link.to_string_lossy();
        let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// Processes of this name (`comm`, up to 15 characters), oldest ancestors only.
pub fn named(name: &str) -> Vec<u32> {
    let short: String = name.chars().take(15).collect();
    let found: BTreeSet<u32> =
        processes().into_iter().filter(|pid| comm(*pid, *pid).as_deref() == Some(&short)).collect();
    found.iter().copied().filter(|pid| parent(*pid).is_none_or(|parent| !found.contains(&parent))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found_and_a_silent_port_is_said_to_be_silent() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port).unwrap(), std::process::id());
        drop(socket);
        assert!(listener(port).unwrap_err().to_string().contains("nothing on this host listens there"));
    }
}
