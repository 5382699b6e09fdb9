//! Short names of frames: what a person calls a function whose demangled name may be kilobytes long. Invariant: the
//! short name of a function is at most [`LONGEST`] characters, is never empty unless the full one is, and a C name is
//! unchanged; markers such as `[outside focus]` keep their names.

use super::clones;
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// Characters that a function's short name may have.
pub const LONGEST: usize = 120;

/// A function's path as people write it: generic arguments, parameters, the noise of `impl`s and the mark of an async
/// function's body left out. `<Foo<T> as Trait<U>>::method::<V>::{closure#0}` becomes `Foo::method`. Different
/// functions can have the same short name.
pub fn short_name(full: &str) -> String {
    if full.starts_with('[') && full.ends_with(']') {
        return full.to_owned();
    }
    SHORTENED.with_borrow_mut(|known| {
        if let Some(short) = known.get(full) {
            return short.clone();
        }
        if known.len() >= KEPT {
            known.clear();
        }
        let short = shortened(full);
        known.insert(full.to_owned(), short.clone());
        short
    })
}

/// Names that a thread keeps: those of the largest programs' profiles.
const KEPT: usize = 1 << 16;

thread_local! {
    // An analysis asks for the names of the same functions at each level, for each of their stacks.
    static SHORTENED: RefCell<FxHashMap<String, String>> = RefCell::default();
}

fn shortened(full: &str) -> String {
    let (name, piece) = clones::split(full);
    let mut segments = path(name, 0);
    if let (Some(last), Some(piece)) = (segments.last_mut(), piece) {
        last.push_str(piece);
    }
    if segments.iter().all(String::is_empty) {
        // A closure of which debug information says nothing else.
        let own = without_closure_arguments(full);
        segments = vec![if own.is_empty() { full.to_owned() } else { own.to_owned() }];
    }
    bounded(&segments)
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

/// Joins segments, leaving out the first ones where they are too long together.
fn bounded(segments: &[String]) -> String {
    let whole = segments.join("::");
    if whole.chars().count() <= LONGEST {
        return whole;
    }
    for first in 1..segments.len() {
        let tail = format!("..::{}", segments[first..].join("::"));
        if tail.chars().count() <= LONGEST {
            return tail;
        }
    }
    let last = segments.last().map_or("", String::as_str);
    last.chars().take(LONGEST - 2).chain("..".chars()).collect()
}

/// Types nest; beyond this depth a name is left as it is.
const DEEPEST: usize = 16;

/// The segments of a path, simplified.
fn path(name: &str, depth: usize) -> Vec<String> {
    let name = without_return_type(without_parameters(name));
    let mut out: Vec<String> = Vec::new();
    let mut closures = 0;
    for (index, segment) in split(name, "::").into_iter().enumerate() {
        if let Some(inner) = segment.strip_prefix('<') {
            let inner = inner.strip_suffix('>').unwrap_or(inner);
            match inner.strip_prefix("impl ") {
                Some(implementation) => {
                    // `module::<impl Trait for Type>::method`; without a trait the module's path says more than the
                    // type.
                    if let [implemented, implementor] = split(implementation, " for ")[..] {
                        out = self_type(implementor, Some(implemented), depth + 1);
                    }
                }
                None if index == 0 => {
                    let parts = split(inner, " as ");
                    out = self_type(parts[0], parts.get(1).copied(), depth + 1);
                }
                None => dropped_type(&mut out, inner, depth),
            }
        } else if is_closure(segment) {
            closures += 1;
            // Of an unknown function: then only the closure has a name.
            let unknown = out.pop_if(|last| last == "_").is_some();
            if closures > 1 || unknown || !is_first(segment) {
                out.push(without_closure_arguments(segment).replace("{{", "{").replace("}}", "}"));
            }
        } else if !is_noise(segment) {
            let bare = without_arguments(segment);
            out.push(bare.to_owned());
            if let Some(arguments) = segment[bare.len()..].strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                dropped_type(&mut out, arguments, depth);
            }
        }
    }
    out
}

/// Leaves a function's arguments out, but for `drop_in_place`, which says nothing without its type.
fn dropped_type(out: &mut [String], arguments: &str, depth: usize) {
    if let Some(last) = out.last_mut().filter(|last| *last == "drop_in_place") {
        last.push_str(&format!("<{}>", self_type(arguments, None, depth + 1).join("::")));
    }
}

/// `Type` of `<Type as Trait>`, or `Trait` where the type is a parameter or has no name.
fn self_type(text: &str, of_trait: Option<&str>, depth: usize) -> Vec<String> {
    if depth > DEEPEST {
        return vec![text.to_owned()];
    }
    let mut named = text;
    while let Some(rest) = ["&", "mut ", "dyn "].iter().find_map(|prefix| named.strip_prefix(prefix)) {
        named = rest;
    }
    let named = split(named, " + ")[0];
    let first = named.chars().next().unwrap_or('_');
    let is_parameter = !named.contains("::") && !named.contains('<') && (first.is_uppercase() || first == '_');
    let is_path = first.is_alphanumeric() || matches!(first, '<' | '{' | '_');
    match of_trait {
        Some(of_trait) if is_parameter || !is_path || named.starts_with("fn(") => path(of_trait, depth),
        _ if named.starts_with('[') => vec!["slice".into()],
        _ if named.starts_with('*') => vec!["pointer".into()],
        _ if named.starts_with('(') => vec!["tuple".into()],
        _ if named.starts_with("fn(") => vec!["fn".into()],
        _ => path(named, depth),
    }
}

/// As symbols name it, and as debug information does.
fn is_closure(segment: &str) -> bool {
    const BODIES: [&str; 9] = [
        "{closure#",
        "{async_fn#",
        "{async_block#",
        "{async_closure#",
        "{gen_fn#",
        "{gen_block#",
        "{gen_closure#",
        "{async_gen_fn#",
        "{async_gen_block#",
    ];
    segment == "{{closure}}" || BODIES.iter().any(|body| segment.starts_with(body))
}

/// `{closure#1}<T>` to `{closure#1}`.
fn without_closure_arguments(segment: &str) -> &str {
    if segment.starts_with("{{") { segment } else { without_arguments(segment) }
}

/// An async function's body is its first closure.
fn is_first(segment: &str) -> bool {
    segment == "{{closure}}" || without_arguments(segment).ends_with("#0}")
}

fn is_noise(segment: &str) -> bool {
    ["{impl#", "{{impl}}", "{{vtable.shim}}", "{shim:", "{{shim:"].iter().any(|noise| segment.starts_with(noise))
}

/// `Vec<T>` to `Vec` and `call_once{{vtable.shim}}` to `call_once`; operators keep their signs.
fn without_arguments(segment: &str) -> &str {
    let outside = outside(segment);
    let signs = if segment.starts_with("operator") { operator(segment.as_bytes()) } else { 1 };
    let ends = |at: usize| segment.as_bytes()[at] == b'<' || segment[at..].starts_with("{{");
    let cut = (signs..segment.len()).find(|&at| segment.is_char_boundary(at) && outside[at] && ends(at));
    cut.map_or(segment, |at| segment[..at].trim_end())
}

/// Cuts the parameters of a C++ function. Rust's and C's names have none; Go's receivers (`pkg.(*T).f`) do not end a
/// name.
fn without_parameters(name: &str) -> &str {
    let mut end = name;
    while let Some(rest) = [" const", " volatile", " &&", " &", " noexcept"].iter().find_map(|s| end.strip_suffix(s)) {
        end = rest;
    }
    if !end.ends_with(')') {
        return name;
    }
    let mut open = 0usize;
    for (at, byte) in end.bytes().enumerate().rev() {
        match byte {
            b')' => open += 1,
            b'(' => open -= 1,
            _ => {}
        }
        if open == 0 {
            let before = &end[..at];
            let is_call = before.ends_with(|c: char| !matches!(c, '.' | ':' | ' ')) && !before.ends_with("operator");
            return if is_call { before } else { name };
        }
    }
    name
}

/// Cuts the return type that C++ templates carry.
fn without_return_type(name: &str) -> &str {
    let outside = outside(name);
    let until = name.find("operator").unwrap_or(name.len());
    let space = name.bytes().enumerate().take(until).rfind(|&(at, byte)| byte == b' ' && outside[at]);
    let rest = space.map_or(name, |(at, _)| &name[at + 1..]);
    if rest.is_empty() { name } else { rest }
}

/// Splits at a separator that lies outside all brackets. There is always one part.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let outside = outside(text);
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        if outside[at] && text.as_bytes()[at..].starts_with(separator.as_bytes()) {
            parts.push(&text[start..at]);
            at += separator.len();
            start = at;
        } else {
            at += 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// For each byte, whether it lies outside all brackets; an opening bracket lies where it opens. Arrows (`->`) and the
/// signs of C++ operators are no brackets.
fn outside(text: &str) -> Vec<bool> {
    let bytes = text.as_bytes();
    let mut result = vec![true; bytes.len()];
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        result[at] = depth == 0;
        match bytes[at] {
            b'-' if bytes.get(at + 1) == Some(&b'>') => {
                result[at + 1] = depth == 0;
                at += 1;
            }
            b'o' if bytes[at..].starts_with(b"operator") => {
                let end = at + operator(&bytes[at..]);
                result[at..end].fill(depth == 0);
                at = end - 1;
            }
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                // Hides a closing bracket from searches for what follows it.
                result[at] = false;
            }
            _ => {}
        }
        at += 1;
    }
    result
}

/// Length of `operator` and its signs, at the start of `bytes`.
fn operator(bytes: &[u8]) -> usize {
    let word = b"operator".len();
    let rest = &bytes[word..];
    if rest.starts_with(b"()") || rest.starts_with(b"[]") {
        return word + 2;
    }
    word + rest.iter().take_while(|byte| b"<>=!+-*/%^&|~,".contains(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, short_name};

    #[track_caller]
    fn shortens(cases: &[(&str, &str)]) {
        for (full, short) in cases {
            assert_eq!(short_name(full), *short, "{full}");
        }
    }

    #[test]
    fn trait_methods_are_shown_under_the_type_that_has_them() {
        shortens(&[
            ("<Foo<T> as Trait<U>>::method::<V>::{closure#0}", "Foo::method"),
            ("<m::Foo<T> as Trait<U>>::method::<V>::{closure#0}", "m::Foo::method"),
            ("<alloc::vec::Vec<u8> as std::io::Write>::write_all", "alloc::vec::Vec::write_all"),
            ("<&mut m::Foo as core::fmt::Write>::write_str", "m::Foo::write_str"),
            (
                "<I as core::iter::traits::collect::IntoIterator>::into_iter",
                "core::iter::traits::collect::IntoIterator::into_iter",
            ),
            (
                "<[u16] as core::slice::specialize::SpecFill<u16>>::spec_fill",
                "core::slice::specialize::SpecFill::spec_fill",
            ),
            ("<dyn m::Store + core::marker::Send>::get", "m::Store::get"),
            ("core::io::<impl std::io::Read for &mut R>::read", "std::io::Read::read"),
            ("<*const m::Foo>::add", "pointer::add"),
            ("<[u8]>::to_vec", "slice::to_vec"),
            ("<str>::parse::<u32>", "str::parse"),
        ]);
    }

    #[test]
    fn inherent_methods_lose_brackets_and_arguments() {
        shortens(&[
            (
                "<adapter::frontend_peek::PeekClient>::try_frontend_peek_cached::{closure#0}",
                "adapter::frontend_peek::PeekClient::try_frontend_peek_cached",
            ),
            (
                "alloc::raw_vec::RawVec<T,A>::reserve::do_reserve_and_handle",
                "alloc::raw_vec::RawVec::reserve::do_reserve_and_handle",
            ),
            (
                "core::iter::range::<impl core::iter::traits::iterator::Iterator for core::ops::range::Range<A>>::next",
                "core::ops::range::Range::next",
            ),
            ("core::slice::<impl [T]>::fill", "core::slice::fill"),
            ("wireprof::symbol::{impl#3}::parse", "wireprof::symbol::parse"),
            ("core::ops::function::FnOnce::call_once{{vtable.shim}}", "core::ops::function::FnOnce::call_once"),
            ("<F as m::Run<fn(u8) -> u8>>::run", "m::Run::run"),
            ("core::ptr::drop_in_place::<alloc::vec::Vec<u8>>", "core::ptr::drop_in_place<alloc::vec::Vec>"),
            ("core::ptr::drop_in_place<m::serve::{{closure}}>", "core::ptr::drop_in_place<m::serve>"),
            ("m::apply::<fn(u8) -> alloc::vec::Vec<u8>>::inner", "m::apply::inner"),
        ]);
    }

    #[test]
    fn only_the_body_of_an_async_function_is_shown_as_the_function() {
        shortens(&[
            ("m::serve::{closure#0}", "m::serve"),
            ("m::serve::{{closure}}", "m::serve"),
            ("m::serve::{closure#0}::{closure#0}", "m::serve::{closure#0}"),
            ("m::serve::{closure#1}", "m::serve::{closure#1}"),
            ("m::serve::{{closure}}::{{closure}}", "m::serve::{closure}"),
            ("m::serve::{async_block#0}", "m::serve"),
            ("m::serve::{async_block#1}::<m::Connection<T>, ()>", "m::serve::{async_block#1}"),
            ("m::_::{async_block#0}::<T>", "m::{async_block#0}"),
            ("{async_block#0}<m::Client, m::Connection,>", "{async_block#0}"),
            ("{closure#0}", "{closure#0}"),
        ]);
    }

    #[test]
    fn c_and_go_names_are_unchanged() {
        shortens(&[
            ("tcp_sendmsg", "tcp_sendmsg"),
            ("send@plt", "send@plt"),
            ("libc.so.6+0x8a2f0", "libc.so.6+0x8a2f0"),
            ("[stack cut: copy too short]", "[stack cut: copy too short]"),
            ("runtime.gopark", "runtime.gopark"),
            (
                "github.com/cockroachdb/cockroach/pkg/sql.(*connExecutor).execStmt.func1",
                "github.com/cockroachdb/cockroach/pkg/sql.(*connExecutor).execStmt.func1",
            ),
            ("", ""),
        ]);
    }

    #[test]
    fn copies_are_shown_as_the_function_and_pieces_as_pieces() {
        shortens(&[
            ("ExecScan.isra.0", "ExecScan"),
            ("ExecScan.constprop.0.isra.12", "ExecScan"),
            ("ExecProcNode.cold", "ExecProcNode.cold"),
            ("ExecScan.part.0", "ExecScan.part"),
            ("m::run.llvm.8812", "m::run"),
            ("m::run.cold", "m::run.cold"),
        ]);
    }

    #[test]
    fn cpp_functions_lose_parameters_and_return_types() {
        shortens(&[
            ("ns::Class<int, std::allocator<int> >::method(int, char const*) const", "ns::Class::method"),
            ("void ns::run<int>(int)", "ns::run"),
            ("(anonymous namespace)::run(int)", "(anonymous namespace)::run"),
            ("std::ostream& operator<< <char>(std::ostream&, char)", "operator<<"),
            ("ns::F::operator()(int) const", "ns::F::operator()"),
            ("ns::P::operator->()", "ns::P::operator->"),
            ("ns::run(std::function<void (int)>)", "ns::run"),
        ]);
    }

    #[test]
    fn long_paths_keep_their_end_and_fit() {
        let long = format!("{}::last", vec!["segment_of_a_path"; 20].join("::"));
        let short = short_name(&long);
        assert!(short.starts_with("..::segment_of_a_path::") && short.ends_with("::last"), "{short}");
        assert!(short.chars().count() <= LONGEST);
        let word = "ü".repeat(5_000);
        assert_eq!(short_name(&word).chars().count(), LONGEST);
    }

    #[test]
    fn unbalanced_brackets_and_absurd_nesting_do_no_harm() {
        for text in
            ["<", ">", "<<<", "a::<b", "{", "f(", ")", "<as>", "< as >::", "::", "operator", "operator<", "-> a"]
        {
            assert!(!short_name(text).is_empty(), "{text}");
        }
        let nested = format!("{}m::T{}::f", "<".repeat(10_000), " as X>".repeat(10_000));
        assert!(short_name(&nested).chars().count() <= LONGEST);
    }
}
