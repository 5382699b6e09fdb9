//! What a file is, told by what it holds. Invariant: a file that is not read is called by its kind, as far as its
//! first bytes tell that, and what to do about it is said.

use super::perf_layout::is_script;
use super::perf_script::PRINT;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    PerfData,
    PerfScript,
    Folded,
    /// Binary and nothing else that is known.
    Pprof,
    /// What it is, and what to do about it.
    Other(String),
}

/// Binary files: first bytes, what it is, what to do.
const BINARY: [(&[u8], &str, &str); 6] = [
    (b"\x7fELF", "a program (ELF)", "give a profile of it"),
    (b"FLR\0", "a recording of Java Flight Recorder", "convert it to folded stacks (jfrconv of async-profiler)"),
    (b"SQLite format 3\0", "an SQLite database", "export folded stacks or pprof from the tool that made it"),
    (b"gmon", "a profile of gprof", "record the program with `perf record -g` instead"),
    (b"\x89PNG", "a picture", "give the profile that it was drawn from"),
    (b"%PDF", "a PDF document", "give the profile that it was drawn from"),
];

/// Texts by what stands in them: of which tool it is, what to do. JSON's keys are looked for in its beginning.
const TEXTS: [(&str, &str, &str); 11] = [
    ("\n# Overhead", "the text of perf report", PRINT),
    ("# To display the perf.data header info", "the text of perf report", PRINT),
    ("\"$schema\":\"https://www.speedscope.app", "JSON of speedscope", FOLD),
    ("\"linux-perf-json-version\"", "JSON of `perf data convert --to-json`", "import the perf.data itself"),
    ("\"preprocessedProfileVersion\"", "JSON of the Firefox Profiler or samply", FOLD),
    ("\"processType\"", "JSON of the Firefox Profiler", FOLD),
    ("\"traceEvents\"", "JSON of a Chrome trace", FOLD),
    ("\"timeDeltas\"", "JSON of V8's profiler (.cpuprofile)", FOLD),
    ("\"flamebearer\"", "JSON of Pyroscope", FOLD),
    ("\"resourceProfiles\"", "JSON of OpenTelemetry", FOLD),
    ("PeriodType:", "the text of `pprof -raw`", "write it as pprof: `pprof -proto`"),
];
const FOLD: &str = "export pprof or folded stacks from the tool that made it";

/// How a text in an older form of pprof begins.
const LEGACY: [&str; 11] = [
    "--- symbol",
    "--- heap",
    "--- contention",
    "--- growth",
    "--- profile",
    "--- cpu",
    "--- Memory map",
    "heap profile:",
    "heap_v2/",
    "goroutine profile:",
    "threadcreate profile:",
];

/// The kind of a file, told by its beginning.
pub(super) fn kind(head: &[u8]) -> Kind {
    if [&b"PERFILE2"[..], b"2ELIFREP", b"PERFFILE"].iter().any(|magic| head.starts_with(magic)) {
        return Kind::PerfData;
    }
    if let Some(encoding) = wide(head) {
        return Kind::Other(format!(
            "it is text in {encoding}: write it as UTF-8 (`iconv -f {encoding} -t UTF-8 FILE`)"
        ));
    }
    let known = BINARY.iter().find(|(magic, ..)| head.starts_with(magic));
    if let Some((_, what, remedy)) = known {
        return Kind::Other(format!("it is {what}: {remedy}"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Kind::Other("it is a tar archive: unpack it (`tar -x`) and give the files that it holds".into());
    }
    let text = String::from_utf8_lossy(head);
    if is_gperftools(head) || LEGACY.iter().any(|start| text.starts_with(start)) {
        return Kind::Other(
            "it is a profile of gperftools, or in another of the old formats of pprof (legacy): convert it with \
             `pprof -proto PROGRAM FILE > FILE.pb.gz` and import that"
                .into(),
        );
    }
    if is_script(&text) {
        return Kind::PerfScript;
    }
    // A protobuf has control characters within its first fields; a text has none.
    let control = |byte: &u8| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x1b | 0x0c);
    match head.iter().take(1 << 13).any(control) {
        true => Kind::Pprof,
        false => of_text(&text),
    }
}

/// What a text is that is not perf script's.
fn of_text(text: &str) -> Kind {
    let begins = text.trim_start();
    let neither = |what: &str, remedy: &str| {
        Kind::Other(format!("it is {what}, neither the text of perf script nor folded stacks nor pprof: {remedy}"))
    };
    let json = begins.starts_with(['{', '[']);
    let compact: String = text.chars().take(1 << 16).filter(|c| *c != ' ' || !json).collect();
    let named = |(mark, ..): &&(&str, &str, &str)| compact.contains(mark) && (json || !mark.starts_with('"'));
    if let Some((_, what, remedy)) = TEXTS.iter().find(named) {
        let remedy = if *remedy == PRINT { format!("print it with `{PRINT}`") } else { remedy.to_string() };
        return neither(what, &remedy);
    }
    let is = |tag: &str| begins.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if is("<svg") || is("<?xml") && text.contains("<svg") {
        return neither("an SVG picture", "give the profile that it was drawn from");
    }
    if is("<!doctype html") || is("<html") {
        return neither(
            "an HTML page",
            "give the profile itself; was it downloaded from an address that needs a login?",
        );
    }
    if is("<?xml") {
        return neither("an XML document", FOLD);
    }
    if is("@[") || text.lines().any(|line| line.starts_with("@[") && line.trim_end().ends_with('[')) {
        return neither("the output of bpftrace", "collapse it with inferno-collapse-bpftrace");
    }
    let lines = || text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("# "));
    let weighed =
        |line: &str| line.trim_end().rsplit([' ', '\t']).next().is_some_and(|word| word.parse::<f64>().is_ok());
    let (all, counted) = lines().take(100).fold((0, 0), |(all, counted), (_, line)| {
        (all + 1, counted + usize::from(line.contains([' ', '\t']) && weighed(line)))
    });
    match lines().next() {
        None => Kind::Empty,
        // One line of two may be damaged, and then it is named.
        Some((number, line)) if counted * 2 < all || json && counted < all => {
            let shown: String = line.trim().chars().take(60).collect();
            let what = if json { "JSON of a tool that is not known" } else { "another text" };
            neither(&format!("{what} (line {}: `{shown}`)", number + 1), &format!("print a recording with `{PRINT}`"))
        }
        Some(_) => Kind::Folded,
    }
}

/// The encoding of a text in units of two or four bytes: by its mark, or because every second byte is 0.
fn wide(head: &[u8]) -> Option<&'static str> {
    let zeros = |odd: usize| head.iter().take(256).skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let half = head.len().min(256) / 2;
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ if half >= 4 && zeros(1) == half && zeros(0) == 0 => Some("UTF-16LE"),
        _ if half >= 4 && zeros(0) == half && zeros(1) == 0 => Some("UTF-16BE"),
        _ => None,
    }
}

/// The header of a CPU profile of gperftools: the words 0, 3, 0, period, 0 of 4 or 8 bytes (its
/// cpuprofile-fileformat.html).
fn is_gperftools(head: &[u8]) -> bool {
    let words = |size: usize, little: bool| -> Option<Vec<u64>> {
        let word = |bytes: &[u8]| {
            let all = bytes.iter().map(|byte| u64::from(*byte));
            if little {
                all.rev().fold(0, |sum, byte| sum << 8 | byte)
            } else {
                all.fold(0, |sum, byte| sum << 8 | byte)
            }
        };
        (head.len() >= 5 * size).then(|| head.chunks_exact(size).take(5).map(word).collect())
    };
    let forms = [(8, true), (8, false), (4, true), (4, false)];
    forms
        .into_iter()
        .filter_map(|(size, little)| words(size, little))
        .any(|words| words[..3] == [0, 3, 0] && words[3] > 0 && words[4] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(head: &[u8]) -> String {
        match kind(head) {
            Kind::Other(what) => what,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_kind_of_a_file_is_told_by_its_first_bytes() {
        assert_eq!(kind(b"main;f 5\n"), Kind::Folded);
        assert_eq!(kind(b"main;f\t5\nmain;g 5.5\n"), Kind::Folded);
        assert_eq!(kind(b"[libc.so];f 5\n[x] 6\n"), Kind::Folded);
        assert_eq!(kind(b"# a comment\n\na b 1/2 [000] 1.5:  100 cycles: \n"), Kind::PerfScript);
        assert_eq!(kind(b"a\x01b 1/2 1.5:  100 cycles: \n"), Kind::PerfScript);
        assert_eq!(kind(b"\x0a\x04\x08\x01"), Kind::Pprof);
        assert_eq!(kind(b"\n# a comment\n"), Kind::Empty);
        assert_eq!(kind(b"PERFILE2"), Kind::PerfData);
    }

    #[test]
    fn what_is_not_read_is_named_with_a_remedy() {
        let words = |little: bool, words: [u64; 5]| -> Vec<u8> {
            words.iter().flat_map(|word| if little { word.to_le_bytes() } else { word.to_be_bytes() }).collect()
        };
        let short: Vec<u8> = [0u32, 3, 0, 10_000, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        let utf16: Vec<u8> = "main;f 5\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (head, what, remedy) in [
            (&words(true, [0, 3, 0, 10_000, 0])[..], "gperftools", "-proto"),
            (&words(false, [0, 3, 0, 10_000, 0]), "gperftools", "-proto"),
            (&short, "gperftools", "-proto"),
            (b"heap profile:   1: 2 [ 3: 4] @ heapprofile\n", "gperftools", "-proto"),
            (&[b"\xff\xfe".to_vec(), utf16.clone()].concat(), "UTF-16", "UTF-8"),
            (&utf16, "UTF-16LE", "UTF-8"),
            (b"<!DOCTYPE html>\n<html>404 5\n", "HTML page", "perf script"),
            (b"<?xml version=\"1.0\"?>\n<svg>", "SVG picture", "drawn from"),
            (b"{\"$schema\": \"https://www.speedscope.app/x\"}", "speedscope", "folded stacks"),
            (b"{\n  \"traceEvents\": [\n", "Chrome trace", "folded stacks"),
            (b"[{\"a\": 5}]\n", "JSON", "perf script"),
            (b"# Samples: 5\n#\n# Overhead  Command\n    5.00%  x\n", "perf report", "perf script -F"),
            (b"@[\n    work+5\n]: 12\n", "bpftrace", "collapse"),
            (b"Dear reader,\nthis is no profile\n", "line 1: `Dear reader,`", "perf script -F"),
            (b"\x7fELF\x02\x01", "program", "profile"),
        ] {
            let said = other(head);
            assert!(said.contains(what) && said.contains(remedy), "{said}");
        }
    }
}
