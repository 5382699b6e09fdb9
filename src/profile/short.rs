//! Short names: what a person calls a function, out of a demangled name that may be kilobytes long.
//! Invariant: never longer than the full name, never empty for a name that is not.

/// `<a::Coordinator as b::Serve<C>>::serve::<D>::{closure#0}` becomes `Coordinator::serve::{closure#0}`: generic
/// arguments and all but the last two parts of the path are left out, closures are kept.
pub fn short_name(name: &str) -> String {
    if !name.contains("::") {
        return name.to_string();
    }
    let parts: Vec<String> = segments(name)
        .iter()
        .enumerate()
        // Only the first part can be a receiver in brackets; later ones are a call's generic arguments.
        .filter(|(i, part)| *i == 0 || !part.starts_with('<'))
        .filter_map(|(_, part)| plain(part))
        .collect();
    let closures = parts.iter().rev().take_while(|p| p.starts_with('{')).count();
    let keep = (closures + 2).min(parts.len());
    let short = parts[parts.len() - keep..].join("::");
    if short.is_empty() || short.len() > name.len() { name.to_string() } else { short }
}

/// The parts of a path between `::` outside of all brackets.
fn segments(path: &str) -> Vec<String> {
    let (mut depth, mut parts, mut from) = (0usize, Vec::new(), 0);
    let bytes = path.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            // The `>` of an arrow closes nothing.
            b'>' if i > 0 && bytes[i - 1] == b'-' => {}
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(i + 1) == Some(&b':') => {
                parts.push(path[from..i].to_string());
                i += 1;
                from = i + 1;
            }
            _ => {}
        }
        i += 1;
    }
    parts.push(path[from..].to_string());
    parts
}

/// One part without generic arguments; `None` for a part that is nothing else.
fn plain(part: &str) -> Option<String> {
    if let Some(inner) = part.strip_prefix('<').and_then(|p| p.strip_suffix('>')) {
        return receiver(inner);
    }
    let end = part.find('<').unwrap_or(part.len());
    (!part[..end].is_empty()).then(|| part[..end].to_string())
}

/// The last part of the type in `<Type>` or `<Type as Trait>`.
fn receiver(inner: &str) -> Option<String> {
    let end = trait_at(inner).unwrap_or(inner.len());
    let kind = inner[..end].trim_start_matches(['&', '*']).trim_start_matches("mut ").trim_start_matches("const ");
    segments(kind).iter().rev().find_map(|s| if s.starts_with('<') { None } else { plain(s) })
}

/// Where ` as ` stands outside of all brackets.
fn trait_at(inner: &str) -> Option<usize> {
    let mut depth = 0usize;
    inner.char_indices().find_map(|(i, c)| {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if inner[..i].ends_with('-') => {}
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && inner[i..].starts_with(" as ") => return Some(i),
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn generic_arguments_and_outer_modules_are_left_out() {
        let cases = [
            ("main", "main"),
            ("std::sys::thread::spawn", "thread::spawn"),
            ("<a::Coordinator>::serve::{closure#0}", "Coordinator::serve::{closure#0}"),
            ("<a::B<c::D> as e::F<g::H>>::poll", "B::poll"),
            ("a::b::call::<x::Y<z::W>, fn() -> q::R>", "b::call"),
            ("entry_SYSCALL_64_after_hwframe", "entry_SYSCALL_64_after_hwframe"),
        ];
        for (full, short) in cases {
            assert_eq!(short_name(full), short, "{full}");
        }
    }
}
