//! The calling thread's id, for its accounts in /proc.

/// The calling thread's id as /proc knows it.
pub fn thread_id() -> u32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() as u32 }
}
