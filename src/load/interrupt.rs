//! SIGINT to a child of our own: what Ctrl-C would do to it.

use std::io;
use std::process::Child;

/// Asks a child to end. A child that was waited for is not signalled, since its number may belong to another by then.
pub fn interrupt(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    // SAFETY: kill(2) takes numbers only; the child has not been waited for, so its number is still its own.
    match unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
