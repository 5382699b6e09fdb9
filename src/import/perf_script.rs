//! The text that `perf script` prints: samples with process, thread, time, event and stack. Invariant: every sample of the
//! event that is kept has its whole weight in the profile; a line that is neither a sample nor a frame is an error that names it.

use crate::profile::{Builder, Column, Frame, Labels, Miss, Profile, Sample, Space, on_cpu_columns};
use crate::symbol::demangle;
use anyhow::{Context, Result, bail};
use regex::Regex;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::LazyLock;

/// `comm pid/tid [cpu] seconds: period event:`, a frame perhaps behind it. A thread's name can hold blanks.
static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^\s*(?P<comm>\S.*?|)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?:\[\d+\]\s+)?(?:(?P<time>\d+\.\d+):\s+)?(?:(?P<period>\d+)\s+)?(?P<event>[\w][^\s]*?):(?:\s+(?P<rest>.*))?$";
    Regex::new(pattern).expect("a constant pattern")
});

/// `address symbol+0xoffset (module)`.
static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^\s*(?P<address>[0-9a-f]+)\s+(?P<symbol>.*?)(?:\+0x[0-9a-f]+)?(?: \((?P<module>[^()]*(?:\(deleted\))?)\))?$",
    )
    .expect("a constant pattern")
});

/// What the samples of one event were.
#[derive(Debug)]
pub(super) struct Script {
    pub profile: Profile,
    pub event: String,
    /// Seconds from the first to the last sample; `None`: without times.
    pub seconds: Option<f64>,
    /// Samples of other events, by their name.
    pub others: BTreeMap<String, u64>,
    /// Samples of other processes, where one was asked for.
    pub foreign: u64,
}

/// Whether a line begins a sample.
pub(super) fn is_head(line: &str) -> bool {
    HEAD.is_match(line)
}

/// Reads all samples of the event that stands for CPU time, else of the most frequent one; of one process where `pid` is given.
pub(super) fn read(mut text: impl BufRead, pid: Option<u32>) -> Result<Script> {
    let mut reader = Reader::default();
    let (mut line, mut number) = (Vec::new(), 0);
    while text.read_until(b'\n', &mut line).context("cannot read the output of perf script")? > 0 {
        number += 1;
        let read = String::from_utf8_lossy(&line);
        reader.line(read.trim_end()).with_context(|| format!("output of perf script, line {number}"))?;
        line.clear();
    }
    reader.finish(pid)
}

struct Head {
    labels: Labels,
    /// ns of perf's clock.
    time: Option<u64>,
    period: Option<i64>,
    event: String,
}

#[derive(Default)]
struct Reader {
    builder: Builder,
    /// The sample under way, and its frames, leaf first.
    open: Option<(Head, Vec<Frame>)>,
    samples: Vec<(Head, Option<crate::profile::StackId>)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        if line.is_empty() || line.starts_with('#') {
            self.close();
            return Ok(());
        }
        // A frame is indented and begins with an address; a thread's name can be indented too.
        if let Some((_, frames)) = &mut self.open
            && line.starts_with([' ', '\t'])
            && !HEAD.is_match(line)
        {
            frames.extend(frame(line)?);
            return Ok(());
        }
        self.close();
        let Some(found) = HEAD.captures(line) else {
            let shown: String = line.chars().take(80).collect();
            bail!(
                "`{shown}` is neither a sample nor a frame of one; print it with `perf script -F comm,pid,tid,time,period,event,ip,sym,dso`"
            )
        };
        let (head, rest) = head(&found)?;
        let frames = rest.filter(|rest| FRAME.is_match(rest)).map(frame).transpose()?.flatten();
        self.open = Some((head, frames.into_iter().collect()));
        Ok(())
    }

    fn close(&mut self) {
        let Some((head, mut frames)) = self.open.take() else { return };
        // An inlined function's code lies in the module of the function that it was inlined into.
        let mut outer = (String::new(), Space::User);
        for frame in frames.iter_mut().rev() {
            if frame.inlined {
                (frame.module, frame.space) = outer.clone();
            } else {
                outer = (frame.module.clone(), frame.space);
            }
        }
        let ids: Vec<_> = frames.into_iter().rev().map(|frame| self.builder.frame(frame)).collect();
        let stack = self.builder.stack(ids);
        self.samples.push((head, stack));
    }

    fn finish(mut self, pid: Option<u32>) -> Result<Script> {
        self.close();
        let mut others: BTreeMap<String, u64> = BTreeMap::new();
        self.samples.iter().for_each(|(head, _)| *others.entry(head.event.clone()).or_default() += 1);
        let Some(event) = chosen(&others) else {
            bail!("there is no sample in it: was anything running while perf recorded?")
        };
        others.remove(&event);
        let all = self.samples.iter().filter(|(head, _)| head.event == event).count();
        let wanted = |head: &Head| head.event == event && pid.is_none_or(|pid| head.labels.pid == pid);
        let kept: Vec<_> = std::mem::take(&mut self.samples).into_iter().filter(|(head, _)| wanted(head)).collect();
        if let (Some(pid), true) = (pid, kept.is_empty()) {
            bail!("none of its {all} samples is of process {pid}");
        }
        let times = || kept.iter().filter_map(|(head, _)| head.time);
        let (first, last) = (times().min(), times().max());
        let mut profile = profile(self.builder, &kept, &event, first)?;
        name_processes(&mut profile);
        let seconds = first.zip(last).map(|(first, last)| (last - first) as f64 / 1e9).filter(|seconds| *seconds > 0.0);
        Ok(Script { profile, event, seconds, others, foreign: (all - kept.len()) as u64 })
    }
}

fn head<'t>(found: &regex::Captures<'t>) -> Result<(Head, Option<&'t str>)> {
    let part = |name: &str| found.name(name).map(|part| part.as_str());
    let id = |name: &str| part(name).and_then(|id| id.parse::<i64>().ok()).and_then(|id| u32::try_from(id).ok());
    let labels = Labels {
        pid: id("pid").unwrap_or(0),
        tid: id("tid").unwrap_or(0),
        thread: part("comm").unwrap_or_default().to_string(),
        state: "on-cpu".into(),
        ..Labels::default()
    };
    let time = part("time").map(nanos).transpose()?;
    let period =
        part("period").map(|period| period.parse().context("a period beyond the range of pprof")).transpose()?;
    Ok((Head { labels, time, period, event: part("event").unwrap_or_default().to_string() }, part("rest")))
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

/// The frame of a line; `None` for the address 0 that ends a walk along frame pointers.
fn frame(line: &str) -> Result<Option<Frame>> {
    let Some(found) = FRAME.captures(line) else {
        let shown: String = line.trim().chars().take(80).collect();
        bail!("`{shown}` is no frame: an address, a symbol and a module in parentheses are expected")
    };
    let address = u64::from_str_radix(&found["address"], 16).unwrap_or(u64::MAX);
    let (symbol, module) = (found["symbol"].trim(), found.name("module").map_or("", |m| m.as_str()));
    let inlined = module == "inlined";
    let module = module.trim_end_matches(" (deleted)");
    let space = match module {
        "[vdso]" => Space::Vdso,
        _ if address >> 63 == 1 || module.starts_with("[kernel") => Space::Kernel,
        _ => Space::User,
    };
    let module = match (space, module) {
        (_, "[unknown]" | "inlined") => String::new(),
        (Space::Kernel, module) if module.starts_with("[kernel") => "[kernel]".to_string(),
        (_, module) => module.rsplit('/').next().unwrap_or(module).to_string(),
    };
    if matches!(symbol, "[unknown]" | "") {
        let name =
            if module.is_empty() { "[unknown]".to_string() } else { format!("[{}]", module.trim_matches(['[', ']'])) };
        let frame = Frame { name, module, space, inlined: false, file: String::new(), miss: Some(Miss::NoSymbol) };
        return Ok((address != 0).then_some(frame));
    }
    Ok(Some(Frame { name: demangle(symbol), module, space, inlined, file: String::new(), miss: None }))
}

/// The event to keep: one of time or cycles, else the most frequent.
fn chosen(events: &BTreeMap<String, u64>) -> Option<String> {
    let rank = |event: &str| match column(event).unit.as_str() {
        "nanoseconds" => 2,
        "cycles" => 1,
        _ => 0,
    };
    events.iter().max_by_key(|(event, count)| (rank(event), **count)).map(|(event, _)| event.clone())
}

/// What an event's period counts.
fn column(event: &str) -> Column {
    let plain = event.trim_matches('/').trim_start_matches("cpu/").split([':', '/']).next().unwrap_or(event);
    let (kind, unit) = match plain {
        "cpu-clock" | "task-clock" => ("cpu", "nanoseconds"),
        "cycles" | "cpu-cycles" | "cycles_core" | "cpu_core" => ("cycles", "cycles"),
        _ => (plain, "events"),
    };
    Column { kind: kind.into(), unit: unit.into() }
}

fn profile(
    mut builder: Builder,
    kept: &[(Head, Option<crate::profile::StackId>)],
    event: &str,
    first: Option<u64>,
) -> Result<Profile> {
    let weighed = kept.iter().all(|(head, _)| head.period.is_some());
    let labels: Vec<_> = kept.iter().map(|(head, _)| builder.labels(head.labels.clone())).collect();
    let mut profile = builder.finish();
    profile.columns = on_cpu_columns();
    profile.columns[1] = column(event);
    profile.columns.truncate(if weighed { 2 } else { 1 });
    for ((head, stack), labels) in kept.iter().zip(labels) {
        let at = head.time.zip(first).map(|(time, first)| time - first);
        let values = std::iter::once(1).chain(head.period.filter(|_| weighed)).collect();
        profile.samples.push(Sample { stack: *stack, labels, at, values });
    }
    Ok(profile)
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((script.event.as_str(), script.seconds, script.foreign), ("cpu-clock:u", Some(0.5), 0));
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
}
