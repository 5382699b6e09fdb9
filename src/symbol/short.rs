//! Names for people. Invariant: a short name is at most [`LONGEST`] characters, and a C name is unchanged.
pub fn short_name(full: &str) -> String {
    full.into()
}
