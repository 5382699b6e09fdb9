//! Texts of perf script read. Invariant: weights and stacks are those that the text holds.

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
        format!("{:#}", read(text.as_bytes(), Some(3)).unwrap_err()).contains("none of its 2 samples is of process 3")
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
fn an_id_alone_before_a_lone_frame_is_an_id() {
    let text =
        "  958  ffffffff81d35f7f read_zero ([kernel.kallsyms])\n  960            40274f spin(long) (/root/prog)\n";
    assert_eq!(stacks(text), [("read_zero".to_string(), 1), ("spin(long)".to_string(), 1)].into());
}

#[test]
fn a_mark_of_inlining_is_no_symbol() {
    let found = error("srv 1/1 1.000001: 5 cycles: \n\t 40241c (/srv)\n\t 40241c (inlined)\n", None);
    assert!(found.contains("the field sym is missing"), "{found}");
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
    let first = [frame("entry", "[kernel]", Space::Kernel, false), server("work", false), server("core::inner", true)];
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
        error(&format!("srv 11 1.000001: x:\n{STACK}"), Some(10)).contains("--pid cannot pick one: print both with")
    );
    let frames = error("srv 11 1.000001: x:\n\t  55 (/opt/server)\n\t  44 (/opt/server)\n", None);
    assert!(frames.contains("line 2: no frame has a symbol") && frames.contains("-F comm"), "{frames}");
    let none = error("srv 11 1.000001: x: a=5\nsrv 11 1.000002: x: a=5\n", None);
    assert!(none.contains("line 1: no sample has a stack") && none.contains("-F comm"), "{none}");
}

#[test]
fn a_header_of_any_length_is_passed_over() {
    let cpus: String = (0..50_000).map(|node| format!("# node{node} cpu list : 0-{node}\n")).collect();
    let text = format!("# ========\n{cpus}# cmdline : sh -c a\nb\n\n# ========\n#\nsrv 1/2 1.0: 5 cycles: \n{STACK}");
    assert_eq!(stacks(&text), [("main;work".to_string(), 5)].into());
    assert!(error("# ========\n# cmdline : a\n", None).contains("its header does not end"));
}
