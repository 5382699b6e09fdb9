//! The limit of open files: a thousand clients are as many sockets, and many systems begin with a limit of 1,024 that a
//! program may raise by itself. Invariant: the limit is never lowered, and what cannot be raised is left to the error
//! of the socket that finds no room.

use std::io;

/// What helps where this process may open no further file.
pub const REMEDY: &str = "raise the limit of open files (ulimit -n)";

/// Files that are open besides the connections: rings of each CPU, maps, scrapes, libraries being read.
const BESIDE: u64 = 1_024;

/// Raises this process's limit, as far as it may, so that so many connections can be open.
pub fn allow(connections: usize) {
    // Without the right to read or set it nothing is lost: the socket that finds no room says so.
    let _ = raise(connections as u64 + BESIDE);
}

/// The limit afterwards.
fn raise(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) fills the live struct that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    limit.rlim_cur = wanted.min(limit.rlim_max);
    // SAFETY: setrlimit(2) reads the live struct that it is given.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_wanted_or_as_far_as_it_may_and_never_lowered() {
        let before = raise(0).unwrap();
        let after = raise(before + 1).unwrap();
        assert!(after == before + 1 || after == before, "{before} to {after}");
        assert_eq!(raise(1).unwrap(), after);
    }
}
