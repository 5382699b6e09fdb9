//! The text that `perf script` prints: samples with whatever fields were printed of them, and their stacks. Invariant: every sample
//! of the event that is kept has its whole weight in the profile; a line that is none of a sample is an error that names it; memory
//! grows with distinct frames and with the number of samples, not with the text.

use super::lines::next_line;
use super::perf_event::{Chosen, chosen, column};
use super::perf_frame::{FrameText, frame_behind, frame_of};
use super::perf_header::pass_header;
use super::perf_layout::{Head, Ids, Layout, is_of_registers, is_of_stack, is_record, is_source};
use super::perf_stacks::{Place, Stacks};
use crate::profile::{Labels, LabelsId, Profile, Sample, StackId, on_cpu_columns};
use anyhow::{Context, Result, bail};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// How to print a recording so that all of it can be read.
pub(super) const PRINT: &str = "perf script -F comm,pid,tid,time,period,event,ip,sym,dso";
/// Bytes that the fields of the samples are told from.
const BEGINNING: u64 = 1 << 20;

/// What the samples of one event were.
#[derive(Debug)]
pub(super) struct Script {
    pub profile: Profile,
    /// `None`: it was not printed.
    pub event: Option<String>,
    /// The events that are taken together for it, where they are several.
    pub together: Vec<String>,
    /// Seconds from the first to the last sample; `None`: without times.
    pub seconds: Option<f64>,
    /// Samples of other events, by their name.
    pub others: BTreeMap<String, u64>,
    /// Samples of other processes, where one was asked for.
    pub foreign: u64,
}

/// Reads all samples of the event that stands for CPU time, else of the most frequent one; of one process where `pid` is given.
///
/// # Errors
/// A line that is none of a sample; no samples; a field that is needed was not printed.
pub(super) fn read(mut text: impl BufRead, pid: Option<u32>) -> Result<Script> {
    const CANNOT: &str = "cannot read the output of perf script";
    let (number, mut beginning) = pass_header(&mut text).context("output of perf script")?;
    text.by_ref().take(BEGINNING).read_to_end(&mut beginning).context(CANNOT)?;
    let layout = Layout::told_by(&String::from_utf8_lossy(&beginning));
    if pid.is_some() && layout.ids != Ids::Pair {
        bail!(
            "its samples have no process id beside the thread's, so --pid cannot pick one: print both with `{PRINT}`"
        );
    }
    let mut reader = Reader::new(layout, number);
    let mut text = beginning.chain(text);
    let mut line = Vec::new();
    while next_line(&mut text, &mut line).context(CANNOT)? {
        reader.number += 1;
        let read = String::from_utf8_lossy(&line);
        reader.line(&read).with_context(|| format!("output of perf script, line {}", reader.number))?;
    }
    reader.finish(pid)
}

/// A sample without its stack.
struct Taken {
    labels: LabelsId,
    pid: u32,
    /// ns of perf's clock.
    time: Option<u64>,
    period: Option<i64>,
    /// Index of its name.
    event: usize,
}

/// A sample under way.
struct Open {
    taken: Taken,
    /// What stands behind its event.
    rest: String,
    /// Leaf first.
    stack: Vec<Place>,
}

struct Reader {
    layout: Layout,
    stacks: Stacks,
    events: FxHashMap<String, usize>,
    open: Option<Open>,
    samples: Vec<(Taken, Option<StackId>)>,
    /// Of the line that is read.
    number: u64,
    /// Line of the first sample.
    first: u64,
    /// Line of the first frame.
    framed: Option<u64>,
    /// Whether any frame has a symbol.
    symbols: bool,
    /// Whether stacks' lines begin with tabs, as perf prints them.
    tabs: bool,
}

impl Reader {
    fn new(layout: Layout, number: u64) -> Reader {
        Reader {
            layout,
            stacks: Stacks::default(),
            events: FxHashMap::default(),
            open: None,
            samples: Vec::new(),
            number,
            first: 0,
            framed: None,
            symbols: false,
            tabs: false,
        }
    }

    fn line(&mut self, raw: &str) -> Result<()> {
        let line = raw.trim_end();
        if line.starts_with('#') && self.is_comment(line)? {
            return Ok(());
        }
        if line.is_empty() {
            self.close();
            return Ok(());
        }
        if is_record(line) {
            self.close();
            return Ok(());
        }
        if line.starts_with([' ', '\t']) && self.below(raw)? {
            return Ok(());
        }
        match self.layout.head(line).filter(|_| !self.layout.bare && !line.starts_with('\t')) {
            Some(head) => {
                self.close();
                self.begin(&head)
            }
            // `-F srccode`
            None if self.open.is_some() && line.starts_with('|') => Ok(()),
            None => bail!("`{}` is neither a sample nor a frame of one; print it with `{PRINT}`", shown(line)),
        }
    }

    /// A thread's name can begin like a comment.
    fn is_comment(&self, line: &str) -> Result<bool> {
        if line.starts_with("# Overhead") || line.starts_with("# Samples: ") {
            bail!("it is the text of perf report, whose stacks are summed up already: print it with `{PRINT}`");
        }
        Ok(!self.layout.is_anchored() || self.layout.head(line).is_none())
    }

    /// Takes an indented line, of what stands below a sample's own; `false`: it begins a sample.
    fn below(&mut self, raw: &str) -> Result<bool> {
        let line = raw.trim_end();
        let tab = line.starts_with('\t');
        let is_head = |reader: &Self| !tab && !reader.layout.bare && reader.layout.head(line).is_some();
        // A thread's name can be indented too, by blanks.
        if self.layout.is_anchored() && is_head(self) {
            return Ok(false);
        }
        let frame = frame_of(raw).filter(|_| tab || !self.tabs && is_of_stack(line));
        if self.layout.flat {
            self.close();
        }
        if self.open.is_none() {
            if frame.is_none() || !self.layout.bare {
                return Ok(false);
            }
            self.begin(&Head::default())?;
        }
        if let Some(frame) = frame {
            self.tabs |= tab;
            let place = self.place(frame);
            self.open.as_mut().expect("opened above").stack.extend(place);
        } else if is_source(line) {
            let last = self.open.as_mut().and_then(|open| open.stack.last_mut());
            // perf prints the mark behind the place.
            if let Some(last) = last.filter(|_| line.ends_with(" (inlined)")) {
                last.inlined = true;
            }
        } else if !is_of_registers(line) {
            if is_head(self) {
                return Ok(false);
            }
            bail!(
                "`{}` is no frame: an address, a symbol and a module in parentheses are expected; print it with `{PRINT}`",
                shown(line.trim())
            );
        }
        Ok(true)
    }

    fn place(&mut self, frame: FrameText) -> Option<Place> {
        self.framed.get_or_insert(self.number);
        self.symbols |= frame.symbol.is_some();
        self.stacks.place(frame)
    }

    fn begin(&mut self, head: &Head) -> Result<()> {
        let id = |text: Option<&str>| text.and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
        let labels = Labels {
            pid: id(head.pid),
            tid: id(head.tid),
            thread: head.comm.to_string(),
            state: "on-cpu".into(),
            ..Labels::default()
        };
        let period = head.period.map(|period| period.parse().context("a period beyond the range of pprof"));
        let event = head.event.unwrap_or_default();
        let next = self.events.len();
        let event = match self.events.get(event) {
            Some(known) => *known,
            None => *self.events.entry(event.to_string()).or_insert(next),
        };
        let taken = Taken {
            pid: labels.pid,
            labels: self.stacks.builder.labels(labels),
            time: head.time.map(nanos).transpose()?,
            period: period.transpose()?,
            event,
        };
        if self.samples.is_empty() {
            self.first = self.number;
        }
        self.open = Some(Open { taken, rest: head.rest.to_string(), stack: Vec::new() });
        Ok(())
    }

    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // Where a stack follows, what stands behind the event is a text of the event's.
        if open.stack.is_empty()
            && let Some(frame) = frame_behind(&open.rest)
        {
            open.stack.extend(self.place(frame));
        }
        let stack = self.stacks.stack(&open.stack);
        self.samples.push((open.taken, stack));
    }

    fn finish(mut self, pid: Option<u32>) -> Result<Script> {
        self.close();
        self.check_fields()?;
        let mut names = vec![String::new(); self.events.len()];
        self.events.iter().for_each(|(name, id)| names[*id].clone_from(name));
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        self.samples.iter().for_each(|(taken, _)| *counts.entry(names[taken.event].clone()).or_default() += 1);
        let Some(Chosen { event, kept, left_out }) = chosen(&counts) else {
            bail!("there is no sample in it: was anything running while perf recorded?")
        };
        let is_kept: Vec<bool> = names.iter().map(|name| kept.contains(name)).collect();
        let mut samples = self.samples;
        samples.retain(|(taken, _)| is_kept[taken.event]);
        let all = samples.len();
        samples.retain(|(taken, _)| pid.is_none_or(|pid| taken.pid == pid));
        if let (Some(pid), true) = (pid, samples.is_empty()) {
            bail!("none of its {all} samples is of process {pid}");
        }
        let times = || samples.iter().filter_map(|(taken, _)| taken.time);
        let (first, last) = (times().min(), times().max());
        let event = Some(event).filter(|_| self.layout.event);
        let mut profile = profile(self.stacks, &samples, event.as_deref(), first);
        if self.layout.ids == Ids::Pair {
            name_processes(&mut profile);
        } else {
            profile.labels.iter_mut().for_each(|labels| labels.process.clone_from(&labels.thread));
        }
        let seconds = first.zip(last).map(|(first, last)| (last - first) as f64 / 1e9).filter(|seconds| *seconds > 0.0);
        let together = if kept.len() > 1 { kept } else { Vec::new() };
        Ok(Script { profile, event, together, seconds, others: left_out, foreign: (all - samples.len()) as u64 })
    }

    /// Fields without which a profile would hold nothing.
    fn check_fields(&self) -> Result<()> {
        if self.samples.is_empty() {
            return Ok(());
        }
        match self.framed {
            None => bail!(
                "output of perf script, line {}: no sample has a stack or a function: the fields ip and sym are missing; print it \
                 with `{PRINT}`",
                self.first
            ),
            Some(line) if !self.symbols => bail!(
                "output of perf script, line {line}: no frame has a symbol: the field sym is missing; print it with `{PRINT}`"
            ),
            Some(_) => Ok(()),
        }
    }
}

fn shown(line: &str) -> String {
    line.chars().take(80).collect()
}

fn profile(stacks: Stacks, samples: &[(Taken, Option<StackId>)], event: Option<&str>, first: Option<u64>) -> Profile {
    // What a period counts is told by its event alone.
    let weighed = event.filter(|_| samples.iter().all(|(taken, _)| taken.period.is_some()));
    let mut profile = stacks.builder.finish();
    profile.columns = on_cpu_columns()[..1].to_vec();
    profile.columns.extend(weighed.map(column));
    for (taken, stack) in samples {
        let at = taken.time.zip(first).map(|(time, first)| time - first);
        let values = std::iter::once(1).chain(taken.period.filter(|_| weighed.is_some())).collect();
        profile.samples.push(Sample { stack: *stack, labels: taken.labels, at, values });
    }
    profile
}

/// A process is called as its first thread mostly is: that changes when it executes another program.
fn name_processes(profile: &mut Profile) {
    let mut seen: BTreeMap<(u32, String), u64> = BTreeMap::new();
    for labels in profile.samples.iter().map(|sample| &profile.labels[sample.labels.index()]) {
        if labels.pid == labels.tid {
            *seen.entry((labels.pid, labels.thread.clone())).or_default() += 1;
        }
    }
    let mut names: BTreeMap<u32, (u64, String)> = BTreeMap::new();
    for ((pid, thread), samples) in seen {
        let name = names.entry(pid).or_default();
        if samples > name.0 {
            *name = (samples, thread);
        }
    }
    for labels in &mut profile.labels {
        labels.process = names.get(&labels.pid).map_or(&labels.thread, |(_, name)| name).clone();
    }
}

/// `14299.121169` seconds, exactly.
fn nanos(text: &str) -> Result<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: u64 = seconds.parse().with_context(|| format!("the time `{text}`"))?;
    let fraction: u64 = format!("{fraction:0<9.9}").parse().with_context(|| format!("the time `{text}`"))?;
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|ns| ns.checked_add(fraction))
        .with_context(|| format!("the time `{text}` is beyond any clock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Frame, Space};

    const TEXT: &str = "\
# ========
tokio-runtime-w 100/102 [001] 14299.121169:    1001001 cpu-clock:u: 
\t           af766 core::inner+0x6 (inlined)
\t           af766 server::serve+0x6 (/opt/my server (deleted))
\t           98109 [unknown] (/usr/lib/libc.so.6)
\t               0 [unknown] ([unknown])

 my server 100/100 14299.621169:    1001001 cpu-clock:u: 
\tffffffff8161ec25 tcp_sendmsg+0x265 ([kernel.kallsyms])
\t           11111 _ZN4core3fmt5Write9write_fmt17h1234567890abcdefE+0x1 (/opt/my server (deleted))
\t           22222 operator new(unsigned long)+0x22 (/usr/lib/libstdc++.so.6)

other   7/7 14299.7:    5 sched:sched_switch:  98109 __schedule+0x1 ([kernel.kallsyms])
";

    fn path(script: &Script, sample: usize) -> Vec<(String, String, Space, bool)> {
        let path = script.profile.path(script.profile.samples[sample].stack);
        let of = |f: &Frame| (f.name.clone(), f.module.clone(), f.space, f.inlined);
        path.iter().map(|f| of(&script.profile.frames[f.index()])).collect()
    }

    fn frame(name: &str, module: &str, space: Space, inlined: bool) -> (String, String, Space, bool) {
        (name.into(), module.into(), space, inlined)
    }

    #[test]
    fn samples_have_process_thread_time_event_and_inlined_frames() {
        let script = read(TEXT.as_bytes(), None).unwrap();
        script.profile.check().unwrap();
        assert_eq!((script.event.as_deref(), script.seconds, script.foreign), (Some("cpu-clock:u"), Some(0.5), 0));
        assert_eq!(script.others.iter().collect::<Vec<_>>(), [(&"sched:sched_switch".to_string(), &1)]);
        assert_eq!(script.profile.columns, on_cpu_columns());
        let user = Space::User;
        let first = [
            frame("[libc.so.6]", "libc.so.6", user, false),
            frame("server::serve", "my server", user, false),
            frame("core::inner", "my server", user, true),
        ];
        assert_eq!(path(&script, 0), first);
        let second = [
            frame("operator new(unsigned long)", "libstdc++.so.6", user, false),
            frame("core::fmt::Write::write_fmt", "my server", user, false),
            frame("tcp_sendmsg", "[kernel]", Space::Kernel, false),
        ];
        assert_eq!(path(&script, 1), second);
        let labels = |sample: usize| &script.profile.labels[script.profile.samples[sample].labels.index()];
        assert_eq!((labels(0).process.as_str(), labels(0).thread.as_str()), ("my server", "tokio-runtime-w"));
        assert_eq!((labels(1).pid, labels(1).tid, labels(0).tid), (100, 100, 102));
        assert_eq!(script.profile.samples[1].at, Some(500_000_000));
        assert_eq!(script.profile.samples[1].values, [1, 1_001_001]);
    }

    #[test]
    fn an_event_without_period_is_counted_and_one_process_can_be_picked() {
        let text = "a 1/1 1.0: page-faults:  1f f+0x1 (x)\nb 2/2 2.0: page-faults:  1f g+0x1 (x)\n";
        let script = read(text.as_bytes(), Some(2)).unwrap();
        assert_eq!((script.foreign, script.profile.samples.len(), script.profile.columns.len()), (1, 1, 1));
        assert_eq!(path(&script, 0), [frame("g", "x", Space::User, false)]);
        assert!(
            format!("{:#}", read(text.as_bytes(), Some(3)).unwrap_err())
                .contains("none of its 2 samples is of process 3")
        );
    }

    #[test]
    fn what_is_no_output_of_perf_is_named_with_its_line() {
        let error = |text: &str| format!("{:#}", read(text.as_bytes(), None).unwrap_err());
        assert!(error("").contains("no sample in it"));
        assert!(error("a 1/1 1.0: 5 cycles: \n\n!!\n").contains("line 3: `!!` is neither a sample nor a frame"));
        assert!(error("a 1/1 1.0: 5 cycles: \n\t zzz\n").contains("line 2: `zzz` is no frame"));
        assert!(error("a 1/1 99999999999999999999.0: 5 cycles: \n").contains("line 1: the time"));
    }

    const STACK: &str = "\t    55 work+0x1 (/opt/app/server)\n\t    44 main+0x2 (/opt/app/server)\n\n";

    /// Weight in the last column by stack.
    fn stacks(text: &str) -> BTreeMap<String, i64> {
        let script = read(text.as_bytes(), None).unwrap_or_else(|error| panic!("{error:#}: {text}"));
        script.profile.check().unwrap();
        let mut found = BTreeMap::new();
        for (at, sample) in script.profile.samples.iter().enumerate() {
            let names: Vec<String> = path(&script, at).into_iter().map(|frame| frame.0).collect();
            *found.entry(names.join(";")).or_default() += sample.values[script.profile.columns.len() - 1];
        }
        found
    }

    fn error(text: &str, pid: Option<u32>) -> String {
        format!("{:#}", read(text.as_bytes(), pid).unwrap_err())
    }

    #[test]
    fn whichever_fields_are_printed_the_stacks_are_the_same() {
        for (head, weight) in [
            ("srv 10/11 [001] 100.000001:    1000000 cycles: ", 1_000_000),
            ("srv 11 100.000001:    1000000 cpu-clock: ", 1_000_000),
            ("srv    11 [001] 100.000001:    1000000 *stalls*: ", 1_000_000),
            ("srv 10/11 100.000001: ", 1),
            ("srv 100.000001: cycles: ", 1),
            ("srv    1000000 cycles: ", 1_000_000),
            ("cycles: ", 1),
            ("10/11 ", 1),
            ("srv ", 1),
            ("", 1),
        ] {
            let text = format!("{head}\n{STACK}").repeat(3);
            assert_eq!(stacks(&text), [("main;work".to_string(), 3 * weight)].into(), "{head}");
        }
    }

    #[test]
    fn samples_without_an_event_are_counted_and_a_thread_alone_is_enough() {
        let script = read(format!("srv 11 1.000001:    1000 \n{STACK}").repeat(2).as_bytes(), None).unwrap();
        assert_eq!((script.event, script.profile.columns.len(), script.others.len()), (None, 1, 0));
        let labels = &script.profile.labels[0];
        assert_eq!((labels.thread.as_str(), labels.process.as_str(), labels.tid, labels.pid), ("srv", "srv", 11, 0));
        let swapper = read(format!("swapper 0 1.0: x:\n{STACK}srv 11 1.0: x:\n{STACK}").as_bytes(), None).unwrap();
        let names: Vec<&str> = swapper.profile.labels.iter().map(|labels| labels.process.as_str()).collect();
        assert_eq!(names, ["swapper", "srv"]);
    }

    #[test]
    fn what_stands_behind_an_event_is_no_frame_of_the_stack_below() {
        for text in [" dead connection closed", " 55 f+0x1 (/opt/x)", "  |OP LOAD|LVL L1 hit      5563f9fce1ab x", ""] {
            let text = format!("srv 10/11 100.000001: x:y:{text}\n{STACK}");
            assert_eq!(stacks(&text), [("main;work".to_string(), 1)].into(), "{text}");
        }
        let flat = "            srv 11 1.000001:   5 cycles:      5563f9fce1ab work+0x1b (/x/srv)\n  work.c:4\n";
        assert_eq!(stacks(&flat.repeat(2)), [("work".to_string(), 10)].into());
        let dead = "            dead 11 1.000001:   5 cycles:      5563f9fce1ab work+0x1b (/x/srv)\n";
        let bare = "     5563f9fce1ab work\n     5563f9fce1ac work\n     5563f9fce1ab main\n";
        assert_eq!(stacks(bare), [("main".to_string(), 1), ("work".to_string(), 2)].into());
        let ids = "28683      5563f9fce1ab work (/x/srv)\n";
        assert_eq!(stacks(&ids.repeat(2)), [("work".to_string(), 2)].into());
        assert_eq!(stacks(&dead.repeat(2)), [("work".to_string(), 10)].into(), "a name of hexadecimal digits");
        assert_eq!(stacks(&format!("s 1/2 1.0: x: dead text\n\ns 1/2 1.0: x: \n{STACK}"))[""], 1, "an empty stack");
    }

    #[test]
    fn places_registers_and_records_between_the_frames_are_passed_over() {
        let text = "\
srv 10/11 1.000001: PERF_RECORD_MMAP2 10/11: [0x55f8(0x1000) @ 0x1000 fe:00 1 2]: r-xp /opt/srv
srv 10/11 1.000001:    1000000 cycles:
\t            55 core::inner
  core.rs:7 (inlined)
\t            55 work+0x1 (/opt/app/server)
  work.c:12 (discriminator 2)
|12            work();
\tffffffff81000130 entry+0x76 ([kernel.kallsyms])
  [kernel.kallsyms][ffffffff81000130]
 ABI:2    AX:0x0    BX:0x7ffd
 0x55/0x66/P/-/-/12  0x77/0x88/M/-/-/0
          7f1234
srv 10/11 1.000002:    1000000 cycles:
\t            55 work+0x1 (/opt/app/server)
\t            66 [unknown] (/opt/app/server)

";
        let script = read(text.as_bytes(), None).unwrap();
        let server = |name: &str, inlined| frame(name, "server", Space::User, inlined);
        let first =
            [frame("entry", "[kernel]", Space::Kernel, false), server("work", false), server("core::inner", true)];
        assert_eq!(path(&script, 0), first);
        assert_eq!(path(&script, 1), [server("[server]", false), server("work", false)]);
        assert_eq!(script.profile.samples.len(), 2);
    }

    #[test]
    fn kernel_code_is_told_by_its_file_and_a_module_is_no_name() {
        let text = "\
srv 10/11 1.000001:    1000000 cycles:
\t3d6b4c vfs_read (/usr/lib/debug/boot/vmlinux-6.1.0)
\t   9f1 nf_hook (/lib/modules/6.1.0/kernel/net/nf.ko.xz)
\t    55  (/usr/lib/libc.so.6)
\t    77 work+0x23 (/opt/App (x86)/server)
";
        let script = read(text.as_bytes(), None).unwrap();
        let frames = [
            frame("work", "server", Space::User, false),
            frame("[libc.so.6]", "libc.so.6", Space::User, false),
            frame("nf_hook", "[nf]", Space::Kernel, false),
            frame("vfs_read", "[kernel]", Space::Kernel, false),
        ];
        assert_eq!(path(&script, 0), frames);
        assert_eq!(script.profile.frames.iter().filter(|frame| frame.miss.is_some()).count(), 1);
    }

    #[test]
    fn the_halves_of_a_hybrid_cpu_are_one_event() {
        let sample = |event: &str| format!("srv 10/11 1.000001:    1000000 {event}: \n{STACK}");
        let text = [sample("cpu_core/cycles/P"), sample("cpu_atom/cycles/P").repeat(3)].concat();
        let script = read(text.as_bytes(), None).unwrap();
        assert_eq!((script.event.as_deref(), script.together.len(), script.others.len()), (Some("cycles:P"), 2, 0));
        assert_eq!(script.profile.total(1), 4_000_000);
    }

    #[test]
    fn a_field_that_is_needed_is_named() {
        assert!(
            error(&format!("srv 11 1.000001: x:\n{STACK}"), Some(10))
                .contains("--pid cannot pick one: print both with")
        );
        let frames = error("srv 11 1.000001: x:\n\t  55 (/opt/server)\n\t  44 (/opt/server)\n", None);
        assert!(frames.contains("line 2: no frame has a symbol") && frames.contains("-F comm"), "{frames}");
        let none = error("srv 11 1.000001: x: a=5\nsrv 11 1.000002: x: a=5\n", None);
        assert!(none.contains("line 1: no sample has a stack") && none.contains("-F comm"), "{none}");
    }

    #[test]
    fn a_header_of_any_length_is_passed_over() {
        let cpus: String = (0..50_000).map(|node| format!("# node{node} cpu list : 0-{node}\n")).collect();
        let text =
            format!("# ========\n{cpus}# cmdline : sh -c a\nb\n\n# ========\n#\nsrv 1/2 1.0: 5 cycles: \n{STACK}");
        assert_eq!(stacks(&text), [("main;work".to_string(), 5)].into());
        assert!(error("# ========\n# cmdline : a\n", None).contains("its header does not end"));
    }
}
