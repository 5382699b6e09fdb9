//! A password or key. Invariant: there is no way to print or serialize it; who sends it asks for its bytes by name; and
//! a process that holds one leaves no image of its memory behind when it crashes.

use std::sync::Once;

/// Bytes that only a server may see. Neither `Debug` nor `Display` nor `Serialize`, so that a struct that holds one
/// cannot derive them either.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes of a password or key.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        static DUMPED_NO_MORE: Once = Once::new();
        DUMPED_NO_MORE.call_once(|| {
            // SAFETY: prctl takes two integers here and touches no memory. Children get the attribute anew with their
            // own program, so that a server that wireprof starts dumps as it always does.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        });
        Secret(bytes.into())
    }

    /// The bytes, to be sent.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// An empty password is none (libpq).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_process_that_holds_a_secret_is_not_dumped() {
        let secret = Secret::new("x");
        // SAFETY: prctl takes one integer here and touches no memory.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        assert_eq!((dumpable, secret.expose()), (0, &b"x"[..]));
    }
}
