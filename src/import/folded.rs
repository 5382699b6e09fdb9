//! Folded stacks (`thread;frame;frame weight`) as perf, inferno-collapse-perf and rustfilt leave them. Invariant: the
//! total weight is conserved exactly, and a frame's text is looked at once however often it occurs: recordings of Rust
//! servers hold 100 MB of text in a few thousand lines, names of kilobytes.
//!
//! A line that begins with `# ` is a comment; the blank before a weight may be a tab, or several.
//!
//! Two peculiarities of that pipeline are undone. A `; ` inside a name is no separator (`[u8; 4]`), and inferno cuts a
//! name at `->` (it takes it for Java's inlining), so that `fn(A) -> B` arrives as two frames `fn(A) ` and ` B_[i]`.

use super::lines::next_line;
use crate::profile::{
    Builder, Frame, FrameId, Labels, LabelsId, Miss, Profile, Sample, Space, StackId, enters_kernel, on_cpu_columns,
};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashMap;
use std::io::BufRead;
use std::num::{IntErrorKind, ParseIntError};

/// A profile read from folded stacks, and what could be derived of its sampling.
pub struct Folded {
    /// The stacks, with their weights in ns of CPU time.
    pub profile: Profile,
    /// The weight of one sample in ns, where all weights are multiples of it.
    pub period: Option<u64>,
    /// Samples, where the period is known.
    pub samples: Option<u64>,
    /// Share of the weight whose leaf has a name, 0..1.
    pub symbolized: Option<f64>,
    /// Weight in ns by the leaf's module where it has no name.
    pub misses: Vec<(String, u64)>,
    /// Whether any stack holds a kernel frame.
    pub kernel_stacks: bool,
    /// Lines that are comments.
    pub comments: u64,
}

/// Whether the first part of a line is a thread's name, as perf's folded stacks have it, or a frame as all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// It is a thread's name.
    First,
    /// It is a frame.
    NotNamed,
}

/// Reads folded stacks whose weights are ns of CPU time, in one pass.
///
/// # Errors
/// A line without a weight; the columns of a difference; no stacks; weights that are all 0 or too large.
pub fn read_folded(mut reader: impl BufRead, threads: Threads, process: &str, pid: u32) -> Result<Folded> {
    let mut stacks = Stacks::default();
    let mut line = Vec::new();
    let mut number = 0;
    while next_line(&mut reader, &mut line).context("cannot read the folded stacks")? {
        number += 1;
        let text = String::from_utf8_lossy(&line);
        // An editor's mark, also in the midst of files put together.
        let text = text.trim_start_matches('\u{feff}').trim();
        if text == "#" || text.starts_with("# ") || text.starts_with("#\t") {
            stacks.comments += 1;
        } else if !text.is_empty() {
            stacks.line(text, threads, process, pid).with_context(|| format!("folded stacks, line {number}"))?;
            stacks.first = if stacks.samples.len() == 1 { number } else { stacks.first };
        }
    }
    stacks.finish()
}

/// A stack and its weight. flamegraph.pl and inferno take fractions too; shares stay exact only with whole numbers.
fn weighed(text: &str) -> Result<(&str, u64)> {
    let Some((stack, weight)) = text.rsplit_once([' ', '\t']) else { bail!("no weight at the end of the line") };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = match weight.split_once('.') {
        Some((whole, fraction)) if digits(whole) && digits(fraction) && weight.len() > 1 => {
            if fraction.bytes().any(|digit| digit != b'0') {
                bail!(
                    "the weight `{weight}` is a fraction: weights must be whole numbers; multiply all of them \
                     by the same number (10, 100, ...)"
                );
            }
            if whole.is_empty() { "0" } else { whole }
        }
        _ => weight,
    };
    let weight = whole.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => anyhow!("the weight `{weight}` is beyond the range of pprof (64 bits)"),
        _ => anyhow!("the weight `{weight}` is no whole number: {error}"),
    })?;
    Ok((stack.trim_end(), weight))
}

/// Asked of each line, so without the errors of [`weighed`], which cost more than reading it.
fn ends_with_number(stack: &str) -> bool {
    let last = stack.rsplit_once([' ', '\t']).map_or("", |(_, last)| last);
    last.starts_with(|c: char| c.is_ascii_digit()) && last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// What is collected while reading.
#[derive(Default)]
struct Stacks {
    builder: Builder,
    /// By the text as it stands in the file; user and kernel frames are different ones.
    frames: HashMap<Box<str>, [Option<FrameId>; 2]>,
    samples: Vec<(Option<StackId>, LabelsId, u64)>,
    /// Line of the first stack.
    first: u64,
    comments: u64,
    /// Stacks that end with a number themselves.
    numbered: usize,
}

impl Stacks {
    fn line(&mut self, text: &str, threads: Threads, process: &str, pid: u32) -> Result<()> {
        let (stack, weight) = weighed(text)?;
        self.numbered += usize::from(ends_with_number(stack));
        let mut frames = Frames { rest: Some(stack) };
        let thread = match threads {
            Threads::First => frames.next().unwrap_or_default().to_string(),
            Threads::NotNamed => String::new(),
        };
        let labels = Labels { process: process.into(), pid, thread, state: "on-cpu".into(), ..Labels::default() };
        let labels = self.builder.labels(labels);
        let (mut parent, mut kernel) = (None, false);
        for raw in frames {
            kernel |= raw.ends_with("_[k]") || enters_kernel(raw);
            let frame = self.frame(raw, kernel);
            parent = Some(self.builder.push(parent, frame));
        }
        self.samples.push((parent, labels, weight));
        Ok(())
    }

    fn frame(&mut self, raw: &str, kernel: bool) -> FrameId {
        if let Some(Some(id)) = self.frames.get(raw).map(|ids| ids[usize::from(kernel)]) {
            return id;
        }
        let id = self.builder.frame(frame(raw, kernel));
        self.frames.entry(raw.into()).or_default()[usize::from(kernel)] = Some(id);
        id
    }

    fn finish(self) -> Result<Folded> {
        let Stacks { builder, samples, first, comments, numbered, .. } = self;
        if samples.is_empty() {
            bail!("the folded stacks are empty");
        }
        // One name can end so; where all do, they are columns.
        if numbered == samples.len() {
            bail!(
                "folded stacks, line {first}: each line ends with two numbers: these are the columns of the difference \
                 of two profiles (difffolded.pl); import the two profiles, and use `wireprof diff`"
            );
        }
        let period = period(samples.iter().map(|s| s.2));
        let mut profile = builder.finish();
        for &(stack, labels, weight) in &samples {
            let weight = i64::try_from(weight).context("a weight beyond the range of pprof")?;
            let values = period.map_or_else(|| vec![weight], |p| vec![weight / p as i64, weight]);
            profile.samples.push(Sample { stack, labels, at: None, values });
        }
        profile.columns = if period.is_some() { on_cpu_columns() } else { on_cpu_columns().split_off(1) };
        let total =
            samples.iter().try_fold(0u64, |sum, s| sum.checked_add(s.2)).filter(|sum| i64::try_from(*sum).is_ok());
        let total = total.context("the sum of the weights is beyond the range of pprof (64 bits)")?;
        if total == 0 {
            bail!("all weights are 0");
        }
        let misses = misses(&profile, &samples);
        let missed: u64 = misses.iter().map(|m| m.1).sum();
        Ok(Folded {
            kernel_stacks: profile.frames.iter().any(|f| f.space == Space::Kernel),
            symbolized: Some(1.0 - missed as f64 / total as f64),
            samples: period.map(|p| total / p),
            profile,
            period,
            misses,
            comments,
        })
    }
}

/// The frames of a folded stack, root first, the thread's name before them.
struct Frames<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let mut from = 0;
        while let Some(at) = rest[from..].find(';').map(|at| from + at) {
            if rest.as_bytes().get(at + 1) != Some(&b' ') {
                self.rest = Some(&rest[at + 1..]);
                return Some(&rest[..at]);
            }
            from = at + 1;
        }
        self.rest = None;
        Some(rest)
    }
}

/// The frame that a text of the file stands for.
fn frame(raw: &str, kernel: bool) -> Frame {
    let mut name = raw.strip_suffix("_[k]").unwrap_or(raw).to_string();
    let mut inlined = name.ends_with("_[i]");
    if let Some(rejoined) = rejoin(&name) {
        (name, inlined) = (rejoined, false);
    } else if inlined {
        name.truncate(name.len() - "_[i]".len());
    }
    // perf writes [unknown], or the module where it knows that much.
    let unnamed = name.starts_with('[') && name.ends_with(']');
    let module = match (unnamed, name.as_str()) {
        (true, "[unknown]") | (false, _) if kernel => "[kernel]".to_string(),
        (true, "[unknown]") | (false, _) => String::new(),
        (true, name) => name[1..name.len() - 1].to_string(),
    };
    let space = if kernel { Space::Kernel } else { Space::User };
    Frame { name, module, space, inlined, file: String::new(), miss: unnamed.then_some(Miss::NoSymbol) }
}

/// Puts a name together again that was cut at `->`; `None` where it was not.
fn rejoin(name: &str) -> Option<String> {
    let mut pieces = name.split("; ");
    let mut whole = pieces.next()?.to_string();
    let mut cut = false;
    for piece in pieces {
        let marked = whole.strip_suffix("_[i]").map(str::len);
        let arrow = marked.is_some() || whole.ends_with(' ');
        whole.truncate(marked.unwrap_or(whole.len()));
        whole.push_str(if arrow { "-> " } else { "; " });
        whole.push_str(piece);
        cut |= arrow;
    }
    if cut {
        whole.truncate(whole.strip_suffix("_[i]").unwrap_or(&whole).len());
    }
    cut.then_some(whole)
}

/// The common divisor of all weights, where it is one sample's weight: it occurs itself, and is a frequency of 1 Hz to
/// 100 kHz. A recording of cycles, or a merged one, has no such divisor.
fn period(weights: impl Iterator<Item = u64> + Clone) -> Option<u64> {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let common = weights.clone().fold(0, divisor);
    ((10_000..=1_000_000_000).contains(&common) && weights.into_iter().any(|w| w == common)).then_some(common)
}

/// Weight by module of the leaves without a name, the heaviest first.
fn misses(profile: &Profile, samples: &[(Option<StackId>, LabelsId, u64)]) -> Vec<(String, u64)> {
    let mut misses: HashMap<String, u64> = HashMap::new();
    for (stack, _, weight) in samples {
        let leaf = stack.map(|s| &profile.frames[profile.nodes[s.index()].frame.index()]);
        match leaf {
            Some(frame) if frame.miss.is_none() => {}
            Some(frame) => *misses.entry(format!("no symbol in {}", frame.name)).or_default() += weight,
            None => *misses.entry("no stack".to_string()).or_default() += weight,
        }
    }
    let mut misses: Vec<_> = misses.into_iter().collect();
    misses.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Folded {
        let folded = read_folded(text.as_bytes(), Threads::First, "server", 7).unwrap();
        folded.profile.check().unwrap();
        folded
    }

    fn names(folded: &Folded, sample: usize) -> Vec<&str> {
        let path = folded.profile.path(folded.profile.samples[sample].stack);
        path.iter().map(|f| folded.profile.frames[f.index()].name.as_str()).collect()
    }

    fn kinds(columns: &[crate::profile::Column]) -> Vec<&str> {
        columns.iter().map(|c| c.kind.as_str()).collect()
    }

    #[test]
    fn a_semicolon_before_a_blank_belongs_to_the_name() {
        let folded = read("t;main;<[u8; 4] as A>::b;c 20000\n");
        assert_eq!(names(&folded, 0), ["main", "<[u8; 4] as A>::b", "c"]);
        assert_eq!(folded.profile.labels[0].thread, "t");
        assert_eq!((folded.profile.labels[0].pid, folded.profile.labels[0].complete), (7, None));
    }

    #[test]
    fn a_name_cut_at_its_arrow_is_one_frame_again() {
        let folded = read("t;F<fn(A) ; bool>, G<fn(B) _[i]; bool>::x_[i];inlined_[i];c 20000\n");
        assert_eq!(names(&folded, 0), ["F<fn(A) -> bool>, G<fn(B) -> bool>::x", "inlined", "c"]);
        let inlined: Vec<bool> = folded.profile.frames.iter().map(|f| f.inlined).collect();
        assert_eq!(inlined, [false, true, false]);
    }

    #[test]
    fn samples_are_derived_only_where_the_weights_have_a_period() {
        let even = read("t;a 2002002\nt;b 1001001\n");
        assert_eq!((even.period, even.samples), (Some(1_001_001), Some(3)));
        assert_eq!(kinds(&even.profile.columns), ["samples", "cpu"]);
        assert_eq!(even.profile.samples[0].values, [2, 2_002_002]);
        let odd = read("t;a 2002003\nt;b 1001001\n");
        assert_eq!((odd.period, odd.samples), (None, None));
        assert_eq!(kinds(&odd.profile.columns), ["cpu"]);
        let no_single = read("t;a 2002002\nt;b 3003003\n");
        assert_eq!(no_single.period, None, "one sample's weight must occur");
    }

    #[test]
    fn what_the_entry_points_call_is_kernel_code() {
        let folded =
            read("t;send;entry_SYSCALL_64_after_hwframe;tcp_sendmsg 20000\nt;tcp_sendmsg 20000\nt;x_[k] 20000\n");
        let spaces: Vec<_> = folded.profile.frames.iter().map(|f| (f.name.as_str(), f.space)).collect();
        let (user, kernel) = (Space::User, Space::Kernel);
        assert_eq!(
            spaces,
            [
                ("send", user),
                ("entry_SYSCALL_64_after_hwframe", kernel),
                ("tcp_sendmsg", kernel),
                ("tcp_sendmsg", user),
                ("x", kernel)
            ]
        );
        assert!(folded.kernel_stacks);
    }

    #[test]
    fn functions_of_a_program_are_no_entry_points_by_the_beginning_of_their_names() {
        let folded = read("t;asm_parser;emit 20000\nt;asm_x86_encode 20000\nt;f;asm_exc_page_fault;handle 20000\n");
        let space = |name: &str| folded.profile.frames.iter().find(|frame| frame.name == name).unwrap().space;
        assert_eq!(["asm_parser", "emit", "asm_x86_encode", "f"].map(space), [Space::User; 4]);
        assert_eq!(["asm_exc_page_fault", "handle"].map(space), [Space::Kernel; 2]);
    }

    #[test]
    fn a_leaf_without_a_name_lowers_the_symbolized_share() {
        let folded = read("t;a;[libc.so.6] 30000\nt;a 60000\nt;[unknown] 10000\n");
        assert_eq!(folded.symbolized, Some(0.6));
        assert_eq!(
            folded.misses,
            [("no symbol in [libc.so.6]".to_string(), 30_000), ("no symbol in [unknown]".to_string(), 10_000)]
        );
        let module = |name: &str| folded.profile.frames.iter().find(|f| f.name == name).unwrap().module.clone();
        assert_eq!(module("[libc.so.6]"), "libc.so.6");
    }

    #[test]
    fn comments_marks_and_blanks_around_are_no_part_of_a_stack() {
        let folded = read(
            "\u{feff}t;main;work\t5\r\n# sampled at 99 Hz for 30\n#\n\
             \u{feff}t;main;rest  7 \n  # x 1\nt;main;# no 3.0\n",
        );
        assert_eq!([0, 1, 2].map(|sample| names(&folded, sample).join(";")), ["main;work", "main;rest", "main;# no"]);
        let weights: Vec<i64> = folded.profile.samples.iter().map(|sample| sample.values[0]).collect();
        assert_eq!((weights, folded.comments), (vec![5, 7, 3], 3));
        let frame = read_folded(&b"#[test];f 5\n#a 6\n"[..], Threads::NotNamed, "", 0).unwrap();
        assert_eq!((names(&frame, 0), names(&frame, 1)), (vec!["#[test]", "f"], vec!["#a"]));
    }

    #[test]
    fn the_columns_of_a_difference_are_refused_and_a_name_may_end_with_a_number() {
        let error = |text: &str| format!("{:#}", read_folded(text.as_bytes(), Threads::First, "", 0).err().unwrap());
        for text in ["# x\nt;a 5 9\nt;b 7 7\n", "t;a\t5\t9\n", "t;a 5.0 9\n"] {
            assert!(error(text).contains("the difference of two profiles"), "{}", error(text));
        }
        assert!(error("# x\nt;a 5 9\n").contains("line 2"));
        assert_eq!(names(&read("t;step 2 9\nt;b 7\n"), 0), ["step 2"]);
    }

    #[test]
    fn weights_that_are_no_whole_numbers_or_too_large_are_refused_with_a_remedy() {
        let error = |text: &str| format!("{:#}", read_folded(text.as_bytes(), Threads::First, "", 0).err().unwrap());
        assert!(
            error("t;a 5.5\n")
                .contains("line 1: the weight `5.5` is a fraction: weights must be whole numbers; multiply")
        );
        assert!(error("t;a 18446744073709551616\n").contains("beyond the range of pprof"));
        assert!(error("t;a 9223372036854775808\n").contains("beyond the range of pprof"));
        assert!(
            error("t;a 9223372036854775807\nt;b 9223372036854775807\n").contains("the sum of the weights is beyond")
        );
        assert!(error("t;a -5\n").contains("`-5` is no whole number"));
    }

    #[test]
    fn a_line_without_a_weight_is_named() {
        let error = |text: &str| format!("{:#}", read_folded(text.as_bytes(), Threads::First, "", 0).err().unwrap());
        assert_eq!(
            error("t;a 1\nt;b x\n"),
            "folded stacks, line 2: the weight `x` is no whole number: invalid digit found in string"
        );
        assert_eq!(error("ta\n"), "folded stacks, line 1: no weight at the end of the line");
        assert_eq!(error(""), "the folded stacks are empty");
    }
}
