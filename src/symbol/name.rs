//! Demangling. Invariant: names carry no hashes, so that the same function has the same name in two builds.

/// A symbol's name for people and for matching: Rust v0 without crate hashes, Rust legacy without the trailing hash,
/// C++ with its parameters, anything else as it is. `.llvm.N` and symbol versions (`@@GLIBC_2.14`) are cut; `.cold`,
/// `.isra.0`, `.constprop.0`, `.part.0` and `@plt` stay, because they are pieces of code of their own.
pub fn demangle(raw: &str) -> String {
    let name = raw.find(".llvm.").map_or(raw, |at| &raw[..at]);
    let (name, stub) = match name.split_once('@') {
        Some((name, "plt")) => (name, "@plt"),
        Some((name, _)) if !name.is_empty() => (name, ""),
        _ => (name, ""),
    };
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}{stub}");
    }
    if name.starts_with("_Z") {
        let (base, clone) = name.find('.').map_or((name, ""), |at| name.split_at(at));
        let demangled = cpp_demangle::Symbol::new(base).ok().and_then(|symbol| symbol.demangle().ok());
        if let Some(cpp) = demangled {
            return format!("{cpp}{clone}{stub}");
        }
    }
    format!("{name}{stub}")
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn rust_v0_names_lose_their_crate_hashes() {
        assert_eq!(demangle("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
        assert_eq!(demangle("_RNCNvCsgStHSCytQ6I_7mycrate3run0B3_"), "mycrate::run::{closure#0}");
    }

    #[test]
    fn rust_legacy_names_lose_their_trailing_hash() {
        assert_eq!(demangle("_ZN4core3fmt5Write9write_fmt17h1234567890abcdefE"), "core::fmt::Write::write_fmt");
        assert_eq!(
            demangle(
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h1234567890abcdefE"
            ),
            "<Test + 'static as foo::Bar<Test>>::bar"
        );
    }

    #[test]
    fn thinlto_suffixes_go_and_outlined_parts_stay() {
        assert_eq!(demangle("_ZN4core3run17h1234567890abcdefE.llvm.8123"), "core::run");
        assert_eq!(demangle("_RNvCs1234_7mycrate3run.llvm.8123"), "mycrate::run");
        assert_eq!(demangle("_RNvCs1234_7mycrate3run.cold"), "mycrate::run.cold");
        assert_eq!(demangle("ExecProcNode.cold"), "ExecProcNode.cold");
        assert_eq!(demangle("_ZN3foo3barEv.isra.0"), "foo::bar().isra.0");
    }

    #[test]
    fn cpp_names_are_demangled_with_their_parameters() {
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(
            demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
    }

    #[test]
    fn c_names_are_unchanged_but_for_their_version() {
        assert_eq!(demangle("memcpy@@GLIBC_2.14"), "memcpy");
        assert_eq!(demangle("send@plt"), "send@plt");
        assert_eq!(demangle("_Zebra"), "_Zebra");
        assert_eq!(demangle(""), "");
    }
}
