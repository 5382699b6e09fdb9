//! By which name a function is known from one build to the next. Invariant: what a compiler or linker appends and
//! changes at will is no part of the name; a rename that the user gives comes after that.

use super::{Frame, Space, clones};
use regex::Regex;
use std::sync::LazyLock;

/// A function that is called otherwise in another build.
#[derive(Clone, Debug)]
pub struct Rename {
    /// Matched anywhere in the name.
    pub old: Regex,
    /// What stands in its place; `$1` is the first group.
    pub new: String,
}

/// Hashes of crates (`core[846817f741e54dfd]`) and of instances (`::h0123456789abcdef`).
static HASHES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[[0-9a-f]{8,16}\]|::h[0-9a-f]{16}\b").expect("a constant pattern"));

/// The frame's name without what differs between builds of the same source. All code without a symbol is one function a
/// module: its addresses mean nothing in another build.
pub fn lasting_name(frame: &Frame, renames: &[Rename]) -> String {
    if frame.space == Space::Marker {
        return frame.name.clone();
    }
    if frame.miss.is_some() {
        let module = if frame.module.is_empty() { "any module" } else { &frame.module };
        return format!("[no symbol in {module}]");
    }
    let (function, _) = clones::split(&frame.name);
    let plain = HASHES.replace_all(function, "").into_owned();
    renames.iter().fold(plain, |name, rename| match rename.old.replace_all(&name, rename.new.as_str()) {
        std::borrow::Cow::Borrowed(_) => name,
        std::borrow::Cow::Owned(renamed) => renamed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Miss, marker};

    fn named(name: &str) -> Frame {
        Frame { name: name.into(), module: "server".into(), space: Space::User, ..marker("") }
    }

    #[test]
    fn hashes_and_clones_are_no_part_of_a_name_and_arrays_are() {
        let same = |name: &str| lasting_name(&named(name), &[]);
        assert_eq!(same("core[846817f741e54dfd]::slice::sort"), "core::slice::sort");
        assert_eq!(same("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(same("a::b.llvm.8812"), "a::b");
        assert_eq!(same("a::b::h0123456789abcdef.llvm.8812"), "a::b");
        assert_eq!(same("tcp_sendmsg.constprop.0.cold"), "tcp_sendmsg");
        assert_eq!(same("<[u8; 4] as A>::h"), "<[u8; 4] as A>::h");
    }

    #[test]
    fn renames_apply_in_their_order_and_addresses_without_symbol_are_one() {
        let rename = |old: &str, new: &str| Rename { old: Regex::new(old).unwrap(), new: new.into() };
        let renames = [rename("^old::(\\w+)$", "new::$1"), rename("new::b", "c")];
        assert_eq!(lasting_name(&named("old::a"), &renames), "new::a");
        assert_eq!(lasting_name(&named("old::b"), &renames), "c");
        let missed = Frame { miss: Some(Miss::NoSymbol), ..named("server+0x10") };
        assert_eq!(lasting_name(&missed, &renames), "[no symbol in server]");
    }
}
