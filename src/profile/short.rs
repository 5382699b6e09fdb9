//! Short names of frames: what a person calls a function whose demangled name may be kilobytes long.
//! Invariant: markers such as `[outside focus]` keep their names.

/// The symbolizer's short name; a marker as it is.
pub fn short_name(name: &str) -> String {
    if name.starts_with('[') && name.ends_with(']') { name.to_string() } else { crate::symbol::short_name(name) }
}
