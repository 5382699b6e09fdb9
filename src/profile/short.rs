//! Short names of frames: what a person calls a function whose demangled name may be kilobytes long.
//! Invariant: markers such as `[outside focus]` keep their names.

/// The symbolizer's short name; a marker as it is.
pub fn short_name(name: &str) -> String {
    if name.starts_with('[') && name.ends_with(']') { name.to_string() } else { crate::symbol::short_name(name) }
}

/// `text` cut in the middle to `width` characters: a function's module and its own name stay readable.
pub fn middle(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_string();
    }
    let kept = width.saturating_sub(1);
    let head: String = text.chars().take(kept / 2).collect();
    let tail: String = text.chars().skip(count - (kept - kept / 2)).collect();
    if width == 0 { String::new() } else { format!("{head}…{tail}") }
}
