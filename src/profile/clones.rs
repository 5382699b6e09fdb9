//! What compilers and linkers append to the name of a function of which they make a copy, or which they cut into
//! pieces. Invariant: a name that ends otherwise is left as it is, and something of a name is always left.

/// Copies of the whole function: GCC's interprocedural passes, its and LLVM's link-time optimization.
const COPIES: [&str; 4] = [".isra", ".constprop", ".lto_priv", ".llvm"];
/// Pieces of the function that were moved away from the rest of it.
const PIECES: [&str; 2] = [".part", ".cold"];

/// The name without such endings, and the piece that it is, as `.cold`; the outermost where there are several.
pub(super) fn split(full: &str) -> (&str, Option<&'static str>) {
    let (mut name, mut piece) = (full, None);
    loop {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let ends = |ending: &&str| stem.len() > ending.len() && stem.ends_with(*ending);
        let (copy, part) = (COPIES.into_iter().find(ends), PIECES.into_iter().find(ends));
        let Some(ending) = copy.or(part) else { return (name, piece) };
        piece = piece.or(part);
        name = &stem[..stem.len() - ending.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn copies_have_the_functions_name_and_pieces_say_which_they_are() {
        assert_eq!(split("ExecScan.constprop.0.isra.12"), ("ExecScan", None));
        assert_eq!(split("a::b.llvm.8812"), ("a::b", None));
        assert_eq!(split("ExecScan.part.0.constprop.1"), ("ExecScan", Some(".part")));
        assert_eq!(split("tcp_sendmsg.constprop.0.cold"), ("tcp_sendmsg", Some(".cold")));
    }

    #[test]
    fn names_that_only_look_so_are_left() {
        for name in ["", "v1.2", ".cold", "f.", "warm.colder", "runtime.gopark", "a.isra.b"] {
            assert_eq!(split(name), (name, None));
        }
    }
}
