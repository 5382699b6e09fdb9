//! A password or key. Invariant: there is no way to print or serialize it; who sends it asks for its bytes by name.

/// Bytes that only a server may see. Neither `Debug` nor `Display` nor `Serialize`, so that a struct that holds one
/// cannot derive them either.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes of a password or key.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
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
