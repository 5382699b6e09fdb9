//! The text that `perf script` prints: samples with whatever fields were printed of them, and their stacks.
//! Invariant: every sample of the event that is kept has its whole weight in the profile; a line that is none of a
//! sample is an error that names it; memory grows with distinct frames and with the number of samples, not with the
//! text.

use super::lines::next_line;
use super::perf_event::{Chosen, chosen, column};
use super::perf_frame::{FrameText, frame_behind, frame_of};
use super::perf_header::pass_header;
use super::perf_layout::{Head, Ids, Layout, is_of_registers, is_of_stack, is_record, is_source};
use super::perf_stacks::{MappedSymbol, Stacks};
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

/// Reads all samples of the event that stands for CPU time, else of the most frequent one; of one process where `pid`
/// is given.
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
    stack: Vec<MappedSymbol>,
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
                "`{}` is no frame: an address, a symbol and a module in parentheses are expected; print it with \
                 `{PRINT}`",
                shown(line.trim())
            );
        }
        Ok(true)
    }

    fn place(&mut self, frame: FrameText) -> Option<MappedSymbol> {
        self.framed.get_or_insert(self.number);
        // perf marks what is inlined also where it prints no symbols.
        self.symbols |= frame.symbol.is_some_and(|symbol| !(frame.inlined && symbol.is_empty()));
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
                "output of perf script, line {}: no sample has a stack or a function: the fields ip and sym are \
                    missing; \
                 print it with `{PRINT}`",
                self.first
            ),
            Some(line) if !self.symbols => bail!(
                "output of perf script, line {line}: no frame has a symbol: the field sym is missing; print it \
                 with `{PRINT}`"
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
mod tests;
