//! How many clients a server has, and on which ports it and its neighbours listen, from the kernel's table of sockets.
//! Invariant: connections of this very process (to read statements, say) are not counted.

use super::locate::sockets;
use procfs::net::{TcpNetEntry, TcpState};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Established connections to a TCP port in the network namespace of `pid` (our own where `None`); `None` where the
/// table cannot be read. A connection that idles in a pool is a client too.
pub fn clients(pid: Option<u32>, port: u16) -> Option<usize> {
    let entries = entries(pid);
    (!entries.is_empty()).then(|| count(&entries, port, &sockets(std::process::id())))
}

/// The TCP ports that anybody listens on in the network namespace of `pid`; none where the table cannot be read.
pub fn listening_ports(pid: u32) -> BTreeSet<u16> {
    let listening = entries(Some(pid)).into_iter().filter(|entry| entry.state == TcpState::Listen);
    listening.map(|entry| entry.local_address.port()).collect()
}

/// The sockets of the network namespace of `pid`, our own where `None`.
fn entries(pid: Option<u32>) -> Vec<TcpNetEntry> {
    let tables = match pid.and_then(|pid| procfs::process::Process::new(i32::try_from(pid).ok()?).ok()) {
        Some(process) => [process.tcp(), process.tcp6()],
        None => [procfs::net::tcp(), procfs::net::tcp6()],
    };
    // A kernel without IPv6 has no second table.
    tables.into_iter().flatten().flatten().collect()
}

fn count(entries: &[TcpNetEntry], port: u16, own: &BTreeSet<u64>) -> usize {
    let established = || entries.iter().filter(|entry| entry.state == TcpState::Established);
    let ours: BTreeSet<SocketAddr> =
        established().filter(|entry| own.contains(&entry.inode)).map(|entry| canonical(entry.local_address)).collect();
    established()
        .filter(|entry| entry.local_address.port() == port && !ours.contains(&canonical(entry.remote_address)))
        .count()
}

/// An IPv4 address as such, also where a socket for both protocols shows it as an IPv6 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_of_others_are_counted_and_our_own_are_not() {
        let server = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = server.local_addr().unwrap().port();
        assert_eq!(clients(None, port), Some(0));
        assert!(listening_ports(std::process::id()).contains(&port));
        let connections: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        assert_eq!(clients(None, port), Some(0), "they are this process's own");
        let entries: Vec<TcpNetEntry> =
            [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten().collect();
        assert_eq!(count(&entries, port, &BTreeSet::new()), 3, "seen by another process they are clients");
        drop(connections);
    }
}
