//! Finding the process behind an address. Invariant: exactly one process is answered, the one that a connection there
//! reaches; where several share the socket (a forked family), it is their common ancestor among them.

use super::{Forbidden, comm, parent, processes, setcap_command};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The process that a connection to a TCP port at the first of these addresses of this host reaches, where anybody
/// listens there; at any address where none is given.
///
/// # Errors
/// Where nothing on this host listens there, several that have nothing to do with each other do, or the process that
/// does hides its open files from this user.
pub fn listener(addresses: &[IpAddr], port: u16) -> Result<u32, Forbidden> {
    let remedy = "start the server, or give its port in --url; a server on another host is measured with --target-host \
                  ssh://HOST, or from here alone with --no-sampling";
    let (bound, place) = (reached(&listening_sockets(port), addresses), format!("port {port}"));
    let found = holders(&bound.iter().map(|(_, inode)| *inode).collect(), &place, remedy)?;
    let at = |pid: u32| {
        let own = sockets(pid);
        bound.iter().filter(|(_, inode)| own.contains(inode)).map(|(at, _)| *at).collect::<BTreeSet<_>>()
    };
    // Processes that share an address share its connections too, and mean to.
    let first = at(found[0]);
    if found.iter().all(|pid| *pid == found[0] || !at(*pid).is_disjoint(&first)) {
        return Ok(found[0]);
    }
    let named = |pid: &u32| {
        let at: Vec<String> = at(*pid).iter().map(IpAddr::to_string).collect();
        format!("process {pid} ({}) at {}", comm(*pid, *pid).unwrap_or_default(), at.join(" and "))
    };
    Err(Forbidden {
        what: format!("finding the process that listens on {place}"),
        cause: format!("several do: {}", found.iter().map(named).collect::<Vec<_>>().join(", ")),
        remedy: "give the one that is meant with --pid".into(),
    })
}

/// The process that listens on a Unix socket, by whichever path leads to it.
///
/// # Errors
/// Where nothing on this host listens there, or the process that does hides its open files from this user.
pub fn socket_listener(path: &Path) -> Result<u32, Forbidden> {
    let text = std::fs::read("/proc/net/unix").unwrap_or_default();
    let path = &bound_in(&text, path);
    let remedy = "start the server, or correct the socket's directory and the port in --url; for a server in another \
                  network namespace give --pid";
    Ok(holders(&socket_inodes(&text, path), &format!("socket {}", path.display()), remedy)?[0])
}

/// The processes that have one of the sockets, without those whose parents do; at least one.
fn holders(inodes: &BTreeSet<u64>, place: &str, remedy: &str) -> Result<Vec<u32>, Forbidden> {
    let failed = |cause: String, remedy: &str| Forbidden {
        what: format!("finding the process that listens on {place}"),
        cause,
        remedy: remedy.into(),
    };
    if inodes.is_empty() {
        return Err(failed("nothing on this host listens there".into(), remedy));
    }
    let holders: BTreeSet<u32> = processes().into_iter().filter(|pid| !sockets(*pid).is_disjoint(inodes)).collect();
    let oldest = holders.iter().copied().filter(|pid| parent(*pid).is_none_or(|parent| !holders.contains(&parent)));
    let oldest: Vec<u32> = oldest.collect();
    if oldest.is_empty() {
        let cause = "something listens there, but its process does not show its open files to this user";
        let remedy = format!("run as root or as the server's user, or `{}`, or give --pid", setcap_command());
        return Err(failed(cause.into(), &remedy));
    }
    Ok(oldest)
}

/// Of the listening sockets of a port, with the addresses that they are bound to, those that a connection reaches: the
/// kernel prefers a socket of that very address, then one of all addresses of its family, then one of all IPv6
/// addresses (`::`), which takes IPv4 as well.
fn reached(sockets: &[(IpAddr, u64)], addresses: &[IpAddr]) -> Vec<(IpAddr, u64)> {
    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const ANY_OF_SIX: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if addresses.is_empty() {
        return sockets.to_vec();
    }
    // To connect to "all addresses" is to connect to the loopback address.
    let to = |address: &IpAddr| match address.to_canonical() {
        ANY => Ipv4Addr::LOCALHOST.into(),
        ANY_OF_SIX => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let by_preference = |address: IpAddr| match address {
        IpAddr::V4(_) => vec![address, ANY, ANY_OF_SIX],
        IpAddr::V6(_) => vec![address, ANY_OF_SIX],
    };
    let bound = |at: IpAddr| sockets.iter().copied().filter(|(address, _)| *address == at).collect::<Vec<_>>();
    let found = addresses.iter().map(to).flat_map(by_preference).map(bound);
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

fn listening_sockets(port: u16) -> Vec<(IpAddr, u64)> {
    let four = procfs::net::tcp().unwrap_or_default();
    let six = procfs::net::tcp6().unwrap_or_default();
    let listening = four.into_iter().chain(six).filter(|entry| entry.state == procfs::net::TcpState::Listen);
    let listening = listening.filter(|entry| entry.local_address.port() == port);
    listening.map(|entry| (entry.local_address.ip().to_canonical(), entry.inode)).collect()
}

/// The name that the server bound a Unix socket to, which is how the kernel knows it: another path can lead to the
/// same file (`/run` and `/var/run`). The path itself where nobody listens there.
pub fn bound_name(path: &Path) -> PathBuf {
    bound_in(&std::fs::read("/proc/net/unix").unwrap_or_default(), path)
}

fn bound_in(text: &[u8], path: &Path) -> PathBuf {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let names: Vec<&Path> = listening(text).map(|(_, name)| name).collect();
    let wanted = file(path).filter(|_| !names.contains(&path));
    let same = names.into_iter().find(|name| wanted.is_some() && file(name) == wanted);
    same.unwrap_or(path).to_path_buf()
}

/// Whether anybody in our network namespace listens on the Unix socket that is bound to this name.
pub fn listens_here(name: &Path) -> bool {
    !socket_inodes(&std::fs::read("/proc/net/unix").unwrap_or_default(), name).is_empty()
}

/// Inodes of the listening sockets of this name.
fn socket_inodes(text: &[u8], path: &Path) -> BTreeSet<u64> {
    listening(text).filter(|(_, name)| *name == path).map(|(inode, _)| inode).collect()
}

/// Listening stream sockets with a name, in the text of `/proc/net/unix` (kernel documentation filesystems/proc.rst):
/// `Num RefCount Protocol Flags Type St Inode Path`; the path may hold spaces and any other bytes.
fn listening(text: &[u8]) -> impl Iterator<Item = (u64, &Path)> {
    bound(text).filter(|(listens, ..)| *listens).map(|(_, inode, name)| (inode, name))
}

/// Sockets that bear a name: whether each listens, and its inode.
pub(super) fn bound(text: &[u8]) -> impl Iterator<Item = (bool, u64, &Path)> {
    /// `__SO_ACCEPTCON` of include/uapi/linux/net.h.
    const LISTENS: u64 = 1 << 16;
    let entry = |line| {
        let (words, name): (Vec<&str>, &[u8]) = split(line)?;
        let listens = u64::from_str_radix(words[3], 16).ok()? & LISTENS != 0;
        Some((listens, words[6].parse().ok()?, Path::new(OsStr::from_bytes(name))))
    };
    text.split(|byte| *byte == b'\n').filter_map(entry)
}

/// The seven words of a line, and the path behind them.
fn split(line: &[u8]) -> Option<(Vec<&str>, &[u8])> {
    let mut rest = line;
    let mut words = Vec::new();
    while words.len() < 7 {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest[start..].iter().position(|byte| *byte == b' ').map_or(rest.len(), |end| start + end);
        words.push(std::str::from_utf8(&rest[start..end]).ok()?);
        rest = &rest[end..];
    }
    Some((words, rest.strip_prefix(b" ")?))
}

/// Whether the process itself has a socket open that a connection to this port reaches, be it one among several; see
/// [`listener`].
pub fn listens_on(pid: u32, addresses: &[IpAddr], port: u16) -> bool {
    let own = sockets(pid);
    reached(&listening_sockets(port), addresses).iter().any(|(_, inode)| own.contains(inode))
}

/// As [`listens_on`], of a Unix socket.
pub fn listens_at(pid: u32, path: &Path) -> bool {
    let text = std::fs::read("/proc/net/unix").unwrap_or_default();
    !sockets(pid).is_disjoint(&socket_inodes(&text, &bound_in(&text, path)))
}

/// Inodes of the sockets that a process has open.
pub(super) fn sockets(pid: u32) -> BTreeSet<u64> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let inode =
        |link: std::path::PathBuf| link.to_string_lossy().strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).filter_map(inode).collect()
}

/// Whether one of two processes descends from the other, or they are the same.
pub fn related(one: u32, other: u32) -> bool {
    let above = |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid).filter(|parent| *parent > 1));
    above(one).any(|pid| pid == other) || above(other).any(|pid| pid == one)
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
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_has_the_listening_socket_too_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.2");
        let (tcp, _unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let (port, own) = (tcp.local_addr().unwrap().port(), std::process::id());
        assert!(listens_on(own, &[], port) && !listens_on(1, &[], port) && !listens_on(own, &[], 1));
        let at = |address: [u8; 4]| [IpAddr::from(address)];
        assert!(listens_on(own, &at([127, 0, 0, 1]), port) && !listens_on(own, &at([127, 0, 0, 2]), port));
        assert!(listens_at(own, &path) && !listens_at(1, &path));
    }

    #[test]
    fn the_listener_of_a_socket_is_found_by_a_path_with_spaces_and_a_client_of_it_is_not() {
        let folder = tempfile::Builder::new().prefix("with space ").tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        let socket = UnixListener::bind(&path).unwrap();
        assert_eq!(socket_listener(&path).unwrap(), std::process::id());
        let other = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), other.path().join("run")).unwrap();
        let by_another_path = other.path().join("run/.s.PGSQL.1");
        assert_eq!(bound_name(&by_another_path), path);
        assert_eq!(socket_listener(&by_another_path).unwrap(), std::process::id());
        assert_eq!(bound_name(&path.join("nothing")), path.join("nothing"));
        let told = socket_listener(&folder.path().join("other")).unwrap_err().to_string();
        assert!(told.contains("nothing on this host listens there"), "{told}");
        drop(socket);
        let connected =
            "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 00010000 0001 01  7 /a b\n0: 3 0 0 1 03 8 /a b\n";
        assert_eq!(socket_inodes(connected.as_bytes(), Path::new("/a b")), BTreeSet::from([7]));
        assert_eq!(socket_inodes(connected.as_bytes(), Path::new("/a")), BTreeSet::new());
    }

    #[test]
    fn a_process_is_related_to_its_parent_and_not_to_the_first_of_all() {
        let own = std::process::id();
        let parent = parent(own).unwrap();
        assert!(related(own, own) && related(own, parent) && related(parent, own));
        assert!(parent <= 1 || !related(own, 1), "everything descends from process 1");
    }

    #[test]
    fn the_listener_of_a_port_is_found_and_a_silent_port_is_said_to_be_silent() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(&[], port).unwrap(), std::process::id());
        assert_eq!(listener(&[Ipv4Addr::LOCALHOST.into()], port).unwrap(), std::process::id());
        drop(socket);
        assert!(listener(&[], port).unwrap_err().to_string().contains("nothing on this host listens there"));
    }

    #[test]
    fn of_several_listeners_on_a_port_the_one_at_the_address_is_found() {
        // Each has its socket as standard input, and this process has none of them.
        let holding = |socket: TcpListener| {
            let input = Stdio::from(std::os::fd::OwnedFd::from(socket));
            Command::new("sleep").arg("30").stdin(input).spawn().unwrap()
        };
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        let two = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let (mut one, mut two) = (holding(one), holding(two));
        let at = |address: [u8; 4]| listener(&[IpAddr::from(address)], port);
        let (first, second, third) = (at([127, 0, 0, 1]), at([127, 0, 0, 2]), at([127, 0, 0, 3]));
        let anywhere = listener(&[], port);
        for child in [&mut one, &mut two] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!((first.unwrap(), second.unwrap()), (one.id(), two.id()));
        assert!(third.unwrap_err().to_string().contains("nothing on this host listens there"));
        let told = anywhere.unwrap_err().to_string();
        for part in [format!("process {} (sleep) at 127.0.0.1", one.id()), "at 127.0.0.2".into(), "--pid".into()] {
            assert!(told.contains(&part), "{told}");
        }
    }

    #[test]
    fn a_connection_reaches_the_nearest_socket() {
        let parse = |address: &str| address.parse::<IpAddr>().unwrap();
        let all = ["10.0.0.5", "127.0.0.1", "0.0.0.0", "::", "::1"];
        for (without, to, expected) in [
            (&[][..], &["127.0.0.1"][..], "127.0.0.1"),
            (&[], &["0.0.0.0"], "127.0.0.1"),
            (&[], &["::ffff:127.0.0.1"], "127.0.0.1"),
            (&[], &["127.0.0.2"], "0.0.0.0"),
            (&["0.0.0.0"], &["127.0.0.2"], "::"),
            (&[], &["fd00::7"], "::"),
            (&[], &["::1", "127.0.0.1"], "::1"),
            (&["::", "::1"], &["::1", "127.0.0.1"], "127.0.0.1"),
        ] {
            let bound = all.iter().filter(|at| !without.contains(at)).map(|at| (parse(at), 1)).collect::<Vec<_>>();
            let to: Vec<IpAddr> = to.iter().map(|at| parse(at)).collect();
            assert_eq!(reached(&bound, &to), [(parse(expected), 1)], "to {to:?} without {without:?}");
        }
        assert_eq!(reached(&[(parse("10.0.0.5"), 1)], &[parse("127.0.0.1")]), []);
        assert_eq!(reached(&[(parse("10.0.0.5"), 1), (parse("::1"), 2)], &[]).len(), 2, "nobody knows which");
    }
}
