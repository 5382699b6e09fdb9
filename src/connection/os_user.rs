//! The name of the user that this process runs as, libpq's default user. Invariant: it is the account of the effective
//! user id, not what an environment variable says.

use std::ffi::CStr;

/// `None` where no account has this process's user id.
pub fn name() -> Option<String> {
    let mut buffer = vec![0; 16 << 10];
    // SAFETY: `passwd` is plain data, for which zeroes are a valid value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    let (text, length) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: it has no arguments and cannot fail.
    let user = unsafe { libc::geteuid() };
    // SAFETY: every pointer is to a live local of the type that getpwuid_r(3) asks for, and the length is the buffer's.
    let code = unsafe { libc::getpwuid_r(user, &raw mut entry, text, length, &raw mut found) };
    if code != 0 || found.is_null() || entry.pw_name.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the name is a string that ends with 0 in `buffer`, which is still alive.
    Some(unsafe { CStr::from_ptr(entry.pw_name) }.to_string_lossy().into_owned())
}
