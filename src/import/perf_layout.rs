//! Which fields `perf script` printed before a sample's stack. It prints them in its own order, and only those that
//! `-F` or the recording has: which they are is told by all samples at the file's beginning, because one alone can be
//! ambiguous. Invariant: an anchor (a time, an event) that the samples have is asked of each, so that no part of a
//! thread's name is taken for one.

use super::perf_frame::{frame_behind, frame_of};
use regex::Regex;
use std::sync::{LazyLock, OnceLock};

/// Samples that the fields are told from.
const SAMPLES: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// `pid/tid`
    Pair,
    /// One number: a thread's, as by default, or a process's (`-F pid`).
    Single,
    Absent,
}

/// The fields of a sample's line.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub ids: Ids,
    pub event: bool,
    time: bool,
    /// Nothing was printed but stacks (`-F ip,sym`).
    pub bare: bool,
    /// Nothing was printed but functions, one a sample.
    pub flat: bool,
    head: Regex,
}

/// A sample's line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head<'t> {
    pub comm: &'t str,
    pub pid: Option<&'t str>,
    pub tid: Option<&'t str>,
    /// Seconds.
    pub time: Option<&'t str>,
    pub period: Option<&'t str>,
    pub event: Option<&'t str>,
    /// What stands behind: a text of the event, a single frame.
    pub rest: &'t str,
}

impl Layout {
    fn new(ids: Ids, [time, event, period]: [bool; 3]) -> Layout {
        let ids_part = match ids {
            Ids::Pair => r"(?P<pid>-?\d+)/(?P<tid>-?\d+)(?:\s+|$)",
            Ids::Single => r"(?P<tid>-?\d+)(?:\s+|$)",
            Ids::Absent => "",
        };
        // CPU, mode (`-F misc`), time of day (`-F tod`).
        let between = match ids {
            // Without an id the mode and a thread's name cannot be told apart.
            Ids::Absent => r"(?:\[\d+\]\s*)?",
            _ => r"(?:\[\d+\]\s*)?(?:[A-Za-z]{1,8}\s+)?(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\s+)?",
        };
        let tail = match (time, event) {
            // A name that the user gave an event can hold blanks.
            (true, true) => r"(?P<time>\d+\.\d+):\s+(?:(?P<period>\d+)\s+)?(?P<event>\S+?|\S[^()]*?):(?P<rest>\s.*)?$",
            (true, false) => r"(?P<time>\d+\.\d+):(?P<rest>\s.*)?$",
            // Without a time a period is one where all samples have it.
            (false, true) if period => r"(?P<period>\d+)\s+(?P<event>\S+?):(?P<rest>\s.*)?$",
            (false, true) => r"(?P<event>\S+?):(?P<rest>\s.*)?$",
            (false, false) => "",
        };
        let name = r"^\s*(?:(?P<comm>\S.*?)\s+)??";
        let pattern = match (ids, time, event) {
            // No anchor: up to the end, or to a frame, whose address is padded.
            (Ids::Pair | Ids::Single, false, false) => {
                format!(r"{name}{}(?P<rest>\s.*)?$", ids_part.trim_end_matches(r"(?:\s+|$)"))
            }
            // Names of threads alone.
            (Ids::Absent, false, false) => r"^\s*(?P<comm>\S.*?)(?P<rest>\s{2,}[0-9a-f]{1,16}\s.*)?$".to_string(),
            _ => format!("{name}{ids_part}{between}{tail}"),
        };
        Layout { ids, event, time, bare: false, flat: false, head: Regex::new(&pattern).expect("a constant pattern") }
    }

    /// All of them, those with most anchors first. Each is made once, when it is first asked for: that takes longer
    /// than to read a short file.
    fn all() -> impl Iterator<Item = &'static Layout> {
        const ANCHORS: [[bool; 3]; 5] =
            [[true, true, true], [true, false, false], [false, true, true], [false, true, false], [false; 3]];
        // A thread's name can end with a number: an id is one where all samples have it.
        const IDS: [Ids; 3] = [Ids::Pair, Ids::Single, Ids::Absent];
        static ALL: [OnceLock<Layout>; 15] = [const { OnceLock::new() }; 15];
        let fields = IDS.into_iter().flat_map(|ids| ANCHORS.into_iter().map(move |anchors| (ids, anchors)));
        ALL.iter().zip(fields).map(|(made, (ids, anchors))| made.get_or_init(|| Layout::new(ids, anchors)))
    }

    /// The fields that most samples at the beginning of a text have.
    pub(super) fn told_by(text: &str) -> Layout {
        let heads = heads(text);
        let mut best: Option<(usize, &Layout)> = None;
        for layout in Layout::all() {
            let fits = heads.iter().filter(|head| layout.head(head).is_some()).count();
            // Any line at all can be a thread's name: what half of them show beyond that is more likely.
            let score = if layout.time || layout.event { 2 * fits } else { fits };
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, layout));
            }
            if fits == heads.len() {
                break;
            }
        }
        let best = best.expect("there are layouts").1;
        let begins_with_frame = || text.lines().find(|line| !line.trim().is_empty()).is_some_and(is_of_stack);
        if heads.is_empty() || best.ids == Ids::Absent && !best.time && !best.event {
            // An empty line is a sample's own.
            let flat = !text.contains('\t') && !text.trim_end().lines().any(|line| line.trim_end().is_empty());
            if begins_with_frame() {
                return Layout { bare: true, flat, ..Layout::new(Ids::Absent, [false; 3]) };
            }
        }
        best.clone()
    }

    /// Takes a sample's line apart; `None`: it is none.
    pub(super) fn head<'t>(&self, line: &'t str) -> Option<Head<'t>> {
        let found = self.head.captures(line)?;
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        // perf pads a period to 10 columns, and an id to 5 or 7.
        if let (Ids::Single, false, Some(id)) =
            (self.ids, self.time, found.name("tid").filter(|_| part("period").is_none()))
        {
            let before = &line[..id.start()];
            if before.len() - before.trim_end_matches(' ').len() + id.len() >= 10 {
                return None;
            }
        }
        Some(Head {
            comm: part("comm").unwrap_or_default(),
            pid: part("pid"),
            tid: part("tid"),
            time: part("time"),
            period: part("period"),
            event: part("event"),
            rest: part("rest").unwrap_or_default(),
        })
    }

    /// Whether a line of this form is hardly anything else.
    pub(super) fn is_anchored(&self) -> bool {
        self.time || self.ids == Ids::Pair && self.event
    }
}

/// Whether a line is of a stack: perf begins those with a tab; where it was lost on the way, blanks stand there.
pub(super) fn is_of_stack(line: &str) -> bool {
    let shown = |line: &str| frame_of(line).is_some_and(|frame| frame.symbol.is_some() || frame.module.is_some());
    line.starts_with('\t') && frame_of(line).is_some() || line.starts_with(' ') && shown(line)
}

/// Lines that begin a sample, as far as that is sure: the first one and those behind an empty line; all, where there
/// are no stacks.
fn heads(text: &str) -> Vec<&str> {
    let lines = || text.lines().map(str::trim_end).filter(|line| !line.starts_with('#') && !is_record(line));
    let stacks = lines().any(|line| line.starts_with('\t') && frame_of(line).is_some());
    let (mut heads, mut fresh) = (Vec::new(), true);
    for line in lines() {
        if line.is_empty() {
            fresh = true;
            continue;
        }
        if fresh && !line.starts_with('\t') || !stacks && !is_of_stack(line) && !is_source(line) {
            heads.push(line);
        }
        fresh = false;
        if heads.len() == SAMPLES {
            break;
        }
    }
    heads
}

/// Whether a line is of no sample but of what `--show-mmap-events` and the like print; it has a sample's first
/// fields, up to the time.
pub(super) fn is_record(line: &str) -> bool {
    let Some(at) = line.find("PERF_RECORD_").filter(|at| *at == 0 || line.as_bytes()[at - 1] == b' ') else {
        return false;
    };
    let time = |word: &str| word.trim_end_matches(':').bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Behind an event stands the event's own text.
    line[..at].split_whitespace().all(|word| !word.ends_with(':') || time(word))
}

/// Whether a line is what `-F srcline` prints below a frame: `  work.c:12`, `  [kernel.kallsyms][ffffffff81000130]`.
pub(super) fn is_source(line: &str) -> bool {
    let Some(place) = line.strip_prefix("  ") else { return false };
    let place = place.trim_end_matches(" (inlined)");
    let place = place.split(" (discriminator ").next().unwrap_or(place);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let line_of = |text: &str| digits(text) || text == "?";
    let address = |text: &str| text.strip_suffix(']').is_some_and(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    !place.starts_with(' ')
        && (place.rsplit_once(':').is_some_and(|(_, line)| line_of(line))
            || place.rsplit_once('[').is_some_and(|(file, at)| !file.is_empty() && address(at)))
}

/// Whether a line is what `-F iregs,uregs,brstack,insn,phys_addr` and the like print below a stack.
pub(super) fn is_of_registers(line: &str) -> bool {
    static BRANCH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"/[MPN-]/[X-]/[A-]/\d+(/\S*)?$").expect("a constant pattern"));
    let line = line.trim_start();
    ["ABI:", "ilen: ", "insn: "].iter().any(|start| line.starts_with(start))
        || BRANCH.is_match(line)
        || line.split_whitespace().all(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a text is perf script's, told by its first sample.
pub(super) fn is_script(text: &str) -> bool {
    if text.starts_with("# ========") {
        return true;
    }
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    if is_record(first) || first.starts_with('\t') && is_of_stack(first) || lines.next().is_some_and(is_of_stack) {
        return true;
    }
    let layout = Layout::told_by(first);
    let counted = first.rsplit([' ', '\t']).next().is_some_and(|last| last.parse::<f64>().is_ok());
    let of_time = |time: &str| time.split_once('.').is_some_and(|(_, fraction)| matches!(fraction.len(), 6 | 9));
    let head = layout.head(first);
    layout.ids == Ids::Pair && (layout.time || layout.event && !counted)
        || head.as_ref().and_then(|head| head.time).is_some_and(of_time)
        || !counted && head.is_some_and(|head| frame_behind(head.rest).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'t>(text: &'t str) -> (Ids, Head<'t>) {
        let layout = Layout::told_by(text);
        (layout.ids, layout.head(heads(text).pop().unwrap()).unwrap())
    }

    /// Thread, ids, time, period and event.
    fn fields(text: &str) -> (String, String) {
        let (_, head) = head(text);
        let of = |part: Option<&str>| part.unwrap_or("-").to_string();
        (head.comm.to_string(), [head.pid, head.tid, head.time, head.period, head.event].map(of).join(" "))
    }

    #[test]
    fn fields_are_found_whichever_of_them_are_printed() {
        for (line, comm, found) in [
            ("srv 10/11 100.000001:    1000000 cycles: ", "srv", "10 11 100.000001 1000000 cycles"),
            ("srv    11 [001] 100.000001:    1000000 cpu-clock:u: ", "srv", "- 11 100.000001 1000000 cpu-clock:u"),
            ("            srv     10/11      [001]   1.000001: sched:x: a=5 b: c", "srv", "10 11 1.000001 - sched:x"),
            ("srv 10/11 100.000001: ", "srv", "10 11 100.000001 - -"),
            ("srv 11 100.000001: ", "srv", "- 11 100.000001 - -"),
            ("srv 11 cycles: ", "srv", "- 11 - - cycles"),
            ("srv 11    1000000 cycles: ", "srv", "- 11 - 1000000 cycles"),
            ("srv cycles: ", "srv", "- - - - cycles"),
            ("srv 100.000001: cycles: ", "srv", "- - 100.000001 - cycles"),
            ("cycles: ", "", "- - - - cycles"),
            ("   10/11 100.000001: cycles: ", "", "10 11 100.000001 - cycles"),
            ("10/11 ", "", "10 11 - - -"),
            ("srv 11 ", "srv", "- 11 - - -"),
            ("my srv ", "my srv", "- - - - -"),
            ("srv 28680 U      1058.554535:    2004008 cpu-clock: ", "srv", "- 28680 1058.554535 2004008 cpu-clock"),
            ("srv 11 2026-03-01 10:11:12.123456 1.000001: 5 x: ", "srv", "- 11 1.000001 5 x"),
            ("srv 11 1.000001: 5 *stalls*: ", "srv", "- 11 1.000001 5 *stalls*"),
            ("srv 11 1.000001: 5 my event: ", "srv", "- 11 1.000001 5 my event"),
            ("srv 11 1.000001: 5 cpu/event=0x3c,umask=0x0/u: ", "srv", "- 11 1.000001 5 cpu/event=0x3c,umask=0x0/u"),
            ("srv 11 1.000001: 5 123: ", "srv", "- 11 1.000001 5 123"),
            ("srv -1/-1 1.000001: 5 x: ", "srv", "-1 -1 1.000001 5 x"),
        ] {
            assert_eq!(fields(line), (comm.to_string(), found.to_string()), "{line}");
        }
    }

    #[test]
    fn a_threads_name_can_hold_blanks_colons_and_numbers() {
        for comm in
            ["a b", "a: b", "5", "a 5", "a 5/6", "5/6", "a 1.5:", "a 1.5: 7 x:", "#a", "dead", "[001]", "a [001]"]
        {
            for (ids, text) in [("10/11", "10 11"), ("11", "- 11")] {
                let line = format!("{comm} {ids} 100.000001:    1000000 cycles: ");
                let layout = Layout::told_by("srv 5 100.000001: 5 cycles:");
                let layout = if ids == "11" { layout } else { Layout::told_by("s 10/11 1.0: 5 cycles:") };
                let found = layout.head(line.trim_end()).unwrap();
                let of = |part: Option<&str>| part.unwrap_or("-").to_string();
                assert_eq!((found.comm, [found.pid, found.tid].map(of).join(" ")), (comm, text.to_string()), "{line}");
            }
        }
    }

    #[test]
    fn a_number_is_an_id_only_where_all_samples_have_it() {
        assert_eq!(head("worker 2 1.000001: x:\n\nmain 1.000002: x:\n").0, Ids::Absent);
        assert_eq!(head("worker 2 1.000001: x:\n\nmain 1 1.000002: x:\n").0, Ids::Single);
        assert_eq!(fields("srv 7 x:\n\nworker 2 11 x:\n"), ("worker 2".to_string(), "- 11 - - x".to_string()));
    }

    #[test]
    fn records_are_told_from_samples_whose_text_is_alike() {
        assert!(is_record("spin 28680  1058.880700: PERF_RECORD_EXIT(28680:28680):(28679:28679)"));
        assert!(
            is_record("PERF_RECORD_COMM exec: spin:1/1") && is_record("swapper     0 PERF_RECORD_MMAP -1/0: [0x1]")
        );
        assert!(
            !is_record("s 1/2 1.000001: x:y: PERF_RECORD_EXIT(1:1)") && !is_record("s 1/2 1.0: x:y: a_PERF_RECORD_")
        );
        assert!(is_source("  :0") && is_source("  ??:?") && !is_source("            srv 11 cycles"));
    }

    #[test]
    fn perf_scripts_text_is_told_from_folded_stacks() {
        for text in [
            "a b 1/2 [000] 1.5:  100 cycles: \n",
            "srv 11 100.000001:\n",
            "srv \n\t    55 work+0x1 (/opt/server)\n",
            "\t    55 work\n",
            "            spin 28683    2004008 cpu-clock:      5563f9fce1ab leaf+0x1b (/tmp/spin)\n",
            "28683      5563f9fce1ab leaf (/tmp/spin)\n28683      5563f9fce1ac leaf (/tmp/spin)\n",
            "            spin cpu-clock:      5563f9fce1ab leaf\n",
            "swapper     0 PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x120bb08) @ 0xf]: x [kernel.kallsyms]_text\n",
            "# ========\n# cmdline : x\n",
        ] {
            assert!(is_script(text), "{text}");
        }
        for text in ["main;f 5\n", "a b 12: 5\n", "main;f 1/2 x: 5.5\n", "main;work\t5\nmain 55 f 7\n", ""] {
            assert!(!is_script(text), "{text}");
        }
    }
}
