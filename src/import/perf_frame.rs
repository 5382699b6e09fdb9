//! A frame as `perf script` prints it: `ADDRESS SYMBOL+OFFSET (MODULE)`, where all but the address depends on `-F`.
//! Invariant: a module is never part of a name, nor a name of a module.

/// What a frame's line says, not looked up any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameText<'t> {
    pub address: u64,
    /// Without its offset; `None` where symbols are not printed, empty or `[unknown]` where there is none.
    pub symbol: Option<&'t str>,
    /// `None` where modules are not printed.
    pub module: Option<&'t str>,
    pub inlined: bool,
}

/// Reads a line that is a frame and nothing else; `None`: it is none.
pub(super) fn frame_of(line: &str) -> Option<FrameText<'_>> {
    let line = line.trim_start();
    let digits = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
    if !(1..=16).contains(&digits) {
        return None;
    }
    let address = u64::from_str_radix(&line[..digits], 16).ok()?;
    let rest = &line[digits..];
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) || begins_with_padded_address(rest) {
        return None;
    }
    // One blank stands before the symbol and one before the module.
    let rest = rest.get(1..).unwrap_or_default();
    let (rest, inlined) = match rest.strip_suffix("(inlined)") {
        Some(named) => (named.strip_suffix(' ').unwrap_or(named), true),
        None => (rest, false),
    };
    if rest.is_empty() {
        return Some(FrameText { address, symbol: inlined.then_some(""), module: None, inlined });
    }
    let (symbol, module) = split(rest);
    let symbol = symbol.map(|symbol| without_offset(symbol.trim()));
    Some(FrameText { address, symbol, module: module.map(without_offset), inlined })
}

/// Whether an address follows that perf padded to 16 columns (`%16lx` behind one blank): what stands before it is then
/// a thread's id, as `-F pid,ip,sym` prints it where there is no stack.
fn begins_with_padded_address(rest: &str) -> bool {
    let address = rest.trim_start_matches(' ');
    let digits = address.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(address.len());
    (1..=16).contains(&digits) && rest.len() - address.len() + digits >= 17 && address[digits..].starts_with(' ')
}

/// The frame at the end of a sample's own line, as perf prints it where there is no stack: its address is padded to
/// 16 columns, so that nothing of a text before it is taken for one. Without that it is one from its first word on,
/// and has an offset.
pub(super) fn frame_behind(text: &str) -> Option<FrameText<'_>> {
    let text = without_registers(text);
    let (mut found, mut end) = (None, text.len());
    // The last one counts: read from behind, what stands behind an address is looked through once alone.
    while let (None, Some(blank)) = (found, text[..end].rfind(' ')) {
        let address = &text[blank + 1..];
        end = text[..blank].trim_end_matches(' ').len();
        let digits = address.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(address.len());
        // "%16lx" behind one blank.
        if blank + 1 - end + digits >= 17 && digits <= 16 {
            found = frame_of(address).filter(|frame| frame.symbol.is_some() || frame.module.is_some());
        }
    }
    let has_offset = |symbol: &str| text.contains(&format!("{symbol}+0x"));
    found.or_else(|| frame_of(text).filter(|frame| frame.symbol.is_some_and(has_offset)))
}

/// Cuts what `-F iregs,brstack,insn` and the like print behind a frame.
fn without_registers(text: &str) -> &str {
    let ends = [" ABI:", " ilen: ", " insn: ", "  0x"].iter().filter_map(|mark| text.find(mark));
    ends.min().map_or(text, |end| text[..end].trim_end())
}

/// Symbol and module. Both may hold blanks and brackets: `f(int) (/opt/App (x86)/server)`.
fn split(text: &str) -> (Option<&str>, Option<&str>) {
    let Some(inner) = text.strip_suffix(')') else { return (Some(text), None) };
    match module_at(inner) {
        Some(0) => (None, Some(&inner[1..])),
        Some(at) => (Some(&text[..at - 1]), Some(&inner[at + 1..])),
        None => (Some(text), None),
    }
}

/// Where the bracket before the module opens; `text` is without the one that closes it.
fn module_at(text: &str) -> Option<usize> {
    let after = |mark: &str| match text.starts_with(&mark[1..]) {
        true => Some(0),
        false => text.find(mark).map(|at| at + 1),
    };
    behind_offset(text).or_else(|| after(" (/")).or_else(|| balanced(text)).or_else(|| after(" (["))
}

/// Behind `+0x1f (`.
fn behind_offset(text: &str) -> Option<usize> {
    text.match_indices("+0x").find_map(|(at, mark)| {
        let digits = at + mark.len();
        let end = digits + text[digits..].find(|c: char| !c.is_ascii_hexdigit())?;
        (end > digits && text[end..].starts_with(" (")).then_some(end + 1)
    })
}

/// The bracket that belongs to the last one, if it stands behind a blank.
fn balanced(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (at == 0 || text.as_bytes()[at - 1] == b' ').then_some(at);
        }
    }
    None
}

/// Without `+0x1f` at the end.
fn without_offset(text: &str) -> &str {
    let Some((name, offset)) = text.rsplit_once("+0x") else { return text };
    let is_hex = !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex { name } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (Option<&str>, Option<&str>, bool) {
        let frame = frame_of(line).unwrap_or_else(|| panic!("{line}"));
        (frame.symbol, frame.module, frame.inlined)
    }

    #[test]
    fn symbol_and_module_are_told_apart_whatever_blanks_and_brackets_they_hold() {
        for (line, symbol, module) in [
            ("\t 55 work+0x1 (/opt/App (x86)/server)", "work", "/opt/App (x86)/server"),
            ("\t 55 work (/opt/App (x86)/server)", "work", "/opt/App (x86)/server"),
            ("\t 55 work (/opt/odd) (x/server)", "work", "/opt/odd) (x/server"),
            ("\t 55 f(int (*)(char)) (/opt/my server (deleted))", "f(int (*)(char))", "/opt/my server (deleted)"),
            ("\t 55 (anonymous namespace)::f(int)+0x1 (server)", "(anonymous namespace)::f(int)", "server"),
            ("\t 55 operator new(unsigned long)+0x22 (anon_inode:x)", "operator new(unsigned long)", "anon_inode:x"),
            ("\tffffffff8161ec25 tcp_sendmsg ([kernel.kallsyms])", "tcp_sendmsg", "[kernel.kallsyms]"),
            ("\t 55 [unknown] ([unknown])", "[unknown]", "[unknown]"),
            ("\t 55  (/usr/lib/libc.so.6)", "", "/usr/lib/libc.so.6"),
            ("\t 55 read+0x1 (/usr/lib/libc.so.6+0x1f0)", "read", "/usr/lib/libc.so.6"),
        ] {
            assert_eq!(parts(line), (Some(symbol), Some(module), false), "{line}");
        }
    }

    #[test]
    fn fields_that_are_not_printed_are_none() {
        assert_eq!(parts("\t 55 f(int)"), (Some("f(int)"), None, false));
        assert_eq!(parts("\t 55 (/opt/server)"), (None, Some("/opt/server"), false));
        assert_eq!(parts("\t 55"), (None, None, false));
        assert_eq!(parts("\t 55 core::f(int)+0x6 (inlined)"), (Some("core::f(int)"), None, true));
        assert_eq!(frame_of("  work.c:12"), None);
        assert_eq!(frame_of("\t0x55 work"), None);
        assert_eq!(frame_of("   1080  ffffffff81d35f77 read_zero ([kernel.kallsyms])"), None);
        assert_eq!(frame_of("    958            40274f spin(long)"), None);
    }

    #[test]
    fn a_frame_behind_a_text_is_the_padded_one() {
        let name = |text: &str| frame_behind(text).and_then(|frame| frame.symbol.map(String::from));
        assert_eq!(name("      5563f9fce1ab leaf+0x1b (/tmp/spin)").as_deref(), Some("leaf"));
        assert_eq!(name(" dead prev=5 ==> x      5563f9fce1ab leaf").as_deref(), Some("leaf"));
        assert_eq!(name(" ffffffff8161ec25 f ([kernel.kallsyms]) ABI:2 AX:0x1").as_deref(), Some("f"));
        assert_eq!(name(" 1f f+0x1 (x)").as_deref(), Some("f"));
        assert_eq!(name(" dead connection closed"), None);
        let many = format!("{} b{:>17} leaf+0x1", format!("{:>17} a", "5").repeat(100_000), "6");
        assert_eq!(name(&many).as_deref(), Some("leaf"), "in time in proportion to the text");
    }
}
