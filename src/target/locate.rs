//! Finding the process behind a port. Invariant: exactly one process is answered, the one that listens; where several
//! share the socket (a forked family), it is their common ancestor among them.

use super::{Forbidden, comm, parent, processes};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The process that listens on a local TCP port.
pub fn listener(port: u16) -> Result<u32, Forbidden> {
    let remedy = "start the server, or give its port in --url; for a server on another host use --no-sampling";
    holder(&listening_inodes(port), &format!("port {port}"), remedy)
}

/// The process that listens on a Unix socket, by the name that it was bound to.
pub fn socket_listener(path: &Path) -> Result<u32, Forbidden> {
    let text = std::fs::read("/proc/net/unix").unwrap_or_default();
    let remedy = "start the server, or correct the socket's directory and the port in --url; for a server in another \
                  network namespace give --pid";
    holder(&socket_inodes(&text, path), &format!("socket {}", path.display()), remedy)
}

fn holder(inodes: &BTreeSet<u64>, place: &str, remedy: &str) -> Result<u32, Forbidden> {
    let failed = |cause: String, remedy: &str| Forbidden {
        what: format!("finding the process that listens on {place}"),
        cause,
        remedy: remedy.into(),
    };
    if inodes.is_empty() {
        return Err(failed("nothing on this host listens there".into(), remedy));
    }
    let holders: BTreeSet<u32> = processes().into_iter().filter(|pid| !sockets(*pid).is_disjoint(inodes)).collect();
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

/// Listening stream sockets of this name in the text of `/proc/net/unix` (kernel documentation filesystems/proc.rst):
/// `Num RefCount Protocol Flags Type St Inode Path`; the path may hold spaces and any other bytes.
fn socket_inodes(text: &[u8], path: &Path) -> BTreeSet<u64> {
    /// `__SO_ACCEPTCON` of include/uapi/linux/net.h.
    const LISTENS: u64 = 1 << 16;
    let entry = |line: &[u8]| {
        let mut rest = line;
        let mut found = Vec::new();
        while found.len() < 7 {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let end = rest[start..].iter().position(|byte| *byte == b' ').map_or(rest.len(), |end| start + end);
            found.push(std::str::from_utf8(&rest[start..end]).ok()?);
            rest = &rest[end..];
        }
        let listens = u64::from_str_radix(found[3], 16).ok()? & LISTENS != 0;
        let named = rest.strip_prefix(b" ")? == path.as_os_str().as_bytes();
        (listens && named).then(|| found[6].parse().ok())?
    };
    text.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

/// Inodes of the sockets that a process has open.
pub(super) fn sockets(pid: u32) -> BTreeSet<u64> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let inode =
        |link: std::path::PathBuf| link.to_string_lossy().strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).filter_map(inode).collect()
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
    fn the_listener_of_a_socket_is_found_by_a_path_with_spaces_and_a_client_of_it_is_not() {
        let folder = tempfile::Builder::new().prefix("with space ").tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(socket_listener(&path).unwrap(), std::process::id());
        let told = socket_listener(&folder.path().join("other")).unwrap_err().to_string();
        assert!(told.contains("nothing on this host listens there"), "{told}");
        drop(socket);
        let connected =
            "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 00010000 0001 01  7 /a b\n0: 3 0 0 1 03 8 /a b\n";
        assert_eq!(socket_inodes(connected.as_bytes(), Path::new("/a b")), BTreeSet::from([7]));
        assert_eq!(socket_inodes(connected.as_bytes(), Path::new("/a")), BTreeSet::new());
    }

    #[test]
    fn the_listener_of_a_port_is_found_and_a_silent_port_is_said_to_be_silent() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port).unwrap(), std::process::id());
        drop(socket);
        assert!(listener(port).unwrap_err().to_string().contains("nothing on this host listens there"));
    }
}
