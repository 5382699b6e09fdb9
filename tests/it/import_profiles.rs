//! Profiles that other tools took: each form becomes a run that the verbs read; what is damaged is named.

use crate::rows::{self, figure};
use crate::skip::skip;
use crate::sweeps::{self, Place};
use flate2::{Compression, write::GzEncoder};
use pprof::protos as proto;
use prost::Message;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use wireprof::profile::ColumnKind;

const FOLDED: &str = "main;serve;work 300\nmain;serve;work;malloc 100\nmain;idle 601\n";

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn write(place: &Place, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(place.path().join(name), bytes).unwrap();
}

/// The rows of a verb, and all that it says.
fn answer(place: &Place, arguments: &[&str]) -> (Vec<Value>, String) {
    let answer = place.run(&[arguments, &["--json"]].concat());
    answer.assert(0, &[]);
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    (rows::rows(&report).to_vec(), answer.out)
}

/// In the row's own unit.
fn cost(rows: &[Value], frame: &str, level: usize) -> f64 {
    figure(rows, &json!({"table": "functions", "measure": "cost", "frame": frame, "level": level}))
}

/// The same in microseconds.
fn micros(rows: &[Value], frame: &str, level: usize) -> f64 {
    (cost(rows, frame, level) * 1e12).round() / 1e6
}

/// A profile as another producer writes it: microseconds, whole paths, an inlined line, a location without a name.
fn foreign(values: &[[i64; 2]], seconds: i64) -> proto::Profile {
    let strings =
        ["", "samples", "count", "cpu", "microseconds", "outer", "inlined", "/opt/bin/server", "[kernel.kallsyms]"];
    let line = |function_id| proto::Line { function_id, line: 7 };
    let function = |id, name| proto::Function { id, name, ..Default::default() };
    let location =
        |id, mapping_id, line| proto::Location { id, mapping_id, address: 0x40 + id, line, ..Default::default() };
    proto::Profile {
        string_table: strings.map(String::from).to_vec(),
        sample_type: vec![proto::ValueType { ty: 1, unit: 2 }, proto::ValueType { ty: 3, unit: 4 }],
        function: vec![function(1, 5), function(2, 6)],
        mapping: [(1, 7), (2, 8)].map(|(id, filename)| proto::Mapping { id, filename, ..Default::default() }).to_vec(),
        location: vec![location(1, 1, vec![line(2), line(1)]), location(2, 2, Vec::new())],
        sample: values
            .iter()
            .enumerate()
            .map(|(i, value)| proto::Sample {
                location_id: if i == 0 { vec![1] } else { vec![2, 1] },
                value: value.to_vec(),
                ..Default::default()
            })
            .collect(),
        duration_nanos: seconds * 1_000_000_000,
        ..Default::default()
    }
}

#[test]
fn folded_stacks_without_a_divisor_give_shares_and_nothing_per_query() {
    let place = Place::new();
    write(&place, "old.folded.gz", zipped(FOLDED.as_bytes()));
    let made = place.run(&["import", "old.folded.gz"]);
    made.assert(0, &[]);
    let run = place.the_run();
    assert!(!run.windows[0].counted());
    let (rows, text) = answer(&place, &["hot"]);
    assert!((cost(&rows, "work", 1) - 300.0 / 1001.0).abs() < 1e-9, "{rows:?}");
    assert!((cost(&rows, "[all sampled]", 1) - 1.0).abs() < 1e-9);
    assert!(text.contains("Cost per query is not measured"), "{text}");
    let drawn = place.run(&["flamegraph"]);
    drawn.assert(0, &[]);
    let folder = place.runs().join(&run.manifest.id).join("flamegraphs");
    let svg = std::fs::read_to_string(folder.join(format!("{}-L0001-all.svg", run.manifest.id))).unwrap();
    assert!(svg.contains("% of samples") && !svg.contains("per query") && svg.contains("queries not counted"));
    place
        .run(&["diff", "latest", "latest"])
        .assert(2, &["no window of it has its queries counted", "--queries or --qps"]);
    place.run(&["explain"]).assert(0, &[]);
    place.run(&["runs", "latest"]).assert(0, &[]);
}

#[test]
fn files_are_levels_and_replicates_and_a_told_divisor_makes_costs_that_diff_compares() {
    let place = Place::new();
    write(&place, "a.txt", FOLDED);
    write(&place, "b.txt", FOLDED.replace("300", "600"));
    let import = |id: &str, more: &[&str]| {
        let files =
            ["--level", "4=a.txt", "--level", "16=a.txt", "--level", "16=b.txt", "--id", id, "--weights", "samples"];
        place.run(&[&["import"], &files[..], more].concat()).assert(0, &[]);
    };
    import("one", &["--queries", "4=100", "--queries", "200"]);
    let (rows, _) = answer(&place, &["hot", "one"]);
    assert_eq!(cost(&rows, "work", 4), 3.0);
    assert_eq!(cost(&rows, "work", 16), 900.0 / 400.0);
    import("two", &["--qps", "10", "--seconds", "20"]);
    let (rows, _) = answer(&place, &["hot", "two"]);
    assert_eq!(cost(&rows, "work", 4), 1.5);
    let diff = place.run(&["diff", "one", "two"]);
    diff.assert(0, &[]);
    assert!(diff.out.contains("work"), "{}", diff.out);
}

#[test]
fn pprof_of_another_producer_keeps_inlines_modules_and_units() {
    let place = Place::new();
    write(&place, "go.pb.gz", zipped(&foreign(&[[3, 3_000], [1, 1_000]], 10).encode_to_vec()));
    place.run(&["import", "go.pb.gz", "--qps", "100"]).assert(0, &[]);
    let (rows, _) = answer(&place, &["hot", "--by", "self"]);
    // 1,000 queries in the 10 s that the file tells; costs in µs.
    assert_eq!((micros(&rows, "inlined", 1), micros(&rows, "[all sampled]", 1)), (3.0, 4.0));
    let run = place.the_run();
    let profile = run.windows[0].profile.as_ref().unwrap();
    assert_eq!(profile.columns, wireprof::profile::on_cpu_columns());
    let inlined = profile.frames.iter().find(|frame| frame.name == "inlined").unwrap();
    assert!(inlined.inlined && inlined.module == "server", "{inlined:?}");
    let nameless = profile.frames.iter().find(|frame| frame.miss.is_some()).unwrap();
    assert_eq!((nameless.name.as_str(), nameless.module.as_str()), ("0x42", "[kernel]"));
}

#[test]
fn the_text_of_perf_script_is_read_where_there_is_no_perf() {
    let place = Place::new();
    let sample = |thread: &str, second: u32, function: &str| {
        format!(
            "{thread} 10/11 {second}.000000:   1000000 cpu-clock: \n\t    1f {function}+0x1 (/opt/server)\n\t    2f \
                main+0x1 (/opt/server)\n\n"
        )
    };
    let text: String = (0..10).map(|i| sample("worker", i, if i < 4 { "a" } else { "b" })).collect();
    write(&place, "perf.txt", &text);
    place.run(&["import", "perf.txt", "--queries", "1000"]).assert(0, &[]);
    let (rows, _) = answer(&place, &["hot"]);
    assert_eq!((micros(&rows, "a", 1), micros(&rows, "b", 1)), (4.0, 6.0));
    assert_eq!(place.the_run().windows[0].facts.span.seconds(), 9.0);
    write(&place, "perf.data", b"PERFILE2 and no more");
    let without = place.command(&["import", "perf.data"]).env("PATH", "/nonexistent").output().unwrap();
    sweeps::answer(without).assert(3, &["profile perf.data", "perf cannot be started", "perf script -F"]);
}

#[test]
fn a_real_recording_of_perf_is_read() {
    let place = Place::new();
    let spin = "import time\nend=time.process_time()+0.4\nwhile time.process_time()<end: sum(range(100))";
    let record = ["record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-o", "perf.data", "--", "python3", "-c", spin];
    let recorded = Command::new("perf").args(record).current_dir(place.path()).stderr(Stdio::null()).status();
    if !recorded.is_ok_and(|status| status.success()) || !place.path().join("perf.data").exists() {
        return skip("perf or python3 is not here, or perf may not record");
    }
    place.run(&["import", "perf.data", "--queries", "100"]).assert(0, &[]);
    let run = place.the_run();
    let profile = run.windows[0].profile.as_ref().unwrap();
    let count = profile.samples.len();
    assert!(count > 100, "{count} samples of 0.4 s of CPU at 999 Hz");
    let named = |name: &str| profile.labels.iter().any(|labels| labels.process.contains(name));
    assert!(named("python3"), "{:?}", profile.labels);
    assert!(profile.samples.iter().all(|sample| sample.at.is_some()));
    let script = Command::new("perf")
        .args(["script", "-i", "perf.data", "-F", "period"])
        .current_dir(place.path())
        .output()
        .unwrap();
    let total: i64 =
        String::from_utf8_lossy(&script.stdout).split_whitespace().filter_map(|word| word.parse::<i64>().ok()).sum();
    assert_eq!(profile.total(profile.column(&ColumnKind::Cpu).unwrap()), total, "the weight that perf itself prints");
}

#[test]
fn what_is_damaged_or_contradictory_is_named_and_nothing_is_stored() {
    let place = Place::new();
    write(&place, "empty", "");
    write(&place, "bad.folded", "main;f 5\nmain;g\n");
    write(&place, "cut.gz", &zipped(FOLDED.repeat(5_000).as_bytes())[..60]);
    write(&place, "noise", [0u8, 255, 3, 9, 200, 17]);
    let mut dangling = foreign(&[[1, 1]], 0);
    dangling.sample[0].location_id = vec![99];
    write(&place, "dangling.pb", dangling.encode_to_vec());
    write(&place, "minus.pb", foreign(&[[1, -5]], 0).encode_to_vec());
    write(&place, "huge.pb", foreign(&[[1, i64::MAX]], 0).encode_to_vec());
    let half = i64::MAX / 1000;
    write(&place, "sum.pb", foreign(&[[1, half], [1, half]], 0).encode_to_vec());
    write(&place, "half.pb", foreign(&[[1, half]], 0).encode_to_vec());
    write(&place, "page", "<!DOCTYPE html>\n<html><body>404</body></html>\n");
    write(&place, "packed", [0x28, 0xb5, 0x2f, 0xfd, 0, 1, 2, 3]);
    write(&place, "two.folded", "main;f 5 9\nmain;g 7 7\n");
    write(&place, "none.pb", foreign(&[], 0).encode_to_vec());
    write(&place, "good.pb", foreign(&[[1, 5]], 0).encode_to_vec());
    for (file, told) in [
        ("empty", "profile empty: it is empty"),
        ("bad.folded", "profile bad.folded: folded stacks, line 2: no weight at the end of the line"),
        ("cut.gz", "profile cut.gz"),
        ("noise", "as a pprof profile it is damaged"),
        ("dangling.pb", "refers to location 99"),
        ("minus.pb", "it is the difference of two profiles"),
        ("huge.pb", "is beyond 292 years"),
        ("none.pb", "the profile has no samples"),
        ("sum.pb", "the sum of its cpu is beyond the range of pprof"),
        ("page", "it is an HTML page, neither the text of perf script nor folded stacks"),
        ("packed", "it is packed with zstd, which is not read"),
        ("two.folded", "line 1: each line ends with two numbers"),
    ] {
        place.run(&["import", file]).assert(3, &[told]);
        place.assert_no_run();
    }
    let both = place.run(&["import", "half.pb", "half.pb", "--id", "both"]);
    both.assert(3, &["the sum of cpu of all files is beyond the range of pprof"]);
    place.assert_no_run();
    let whole = foreign(&[[3, 3_000], [1, 1_000]], 10).encode_to_vec();
    for cut in 0..whole.len() {
        write(&place, "cut.pb", &whole[..cut]);
        let code = place.run(&["import", "cut.pb"]).code;
        // A protobuf that ends between two fields is whole; then it must be one that is all there.
        assert!(code == 3 || (code <= 1 && cut > whole.len() - 12), "cut at {cut}: {code}");
    }
    place.run(&["import", "good.pb", "--qps", "5"]).assert(3, &["give --seconds beside --qps"]);
    place.run(&["import", "good.pb", "--pid", "7"]).assert(3, &["has the label pid=7"]);
    place.run(&["import", "good.pb", "nosuch"]).assert(2, &["nosuch does not exist"]);
    place.run(&["import", "nosuch"]).assert(2, &["nosuch does not exist"]);
    place.run(&["import", "good.pb", "--queries", "16=5"]).assert(2, &["queries are given of level 16"]);
    place.run(&["import", "good.pb", "--queries", "0"]).assert(2, &["is no number of queries"]);
    place.run(&["import", "--level", "x=good.pb"]).assert(2, &["names no level and file"]);
    place.run(&["import", "good.pb", "."]).assert(2, &[". is a directory: of several arguments each is a profile"]);
    place.run(&["import", "good.pb", "--profile-seconds", "5"]).assert(2, &["give --seconds"]);
    place.run(&["import"]).assert(2, &["required"]);
}

/// A profile of one stack, `f` in `main`, whose columns are these (kind, unit, value).
fn columns(columns: &[(&str, &str, i64)], default: &str, names: [(&str, &str); 2]) -> Vec<u8> {
    let mut table = vec![String::new()];
    let mut id = |text: &str| {
        let known = table.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            table.push(text.to_string());
            table.len() - 1
        }) as i64
    };
    let sample_type = columns.iter().map(|(kind, unit, _)| proto::ValueType { ty: id(kind), unit: id(unit) }).collect();
    let function = names.iter().zip(1..).map(|((name, system), at)| proto::Function {
        id: at,
        name: id(name),
        system_name: id(system),
        ..Default::default()
    });
    let function = function.collect();
    let default_sample_type = id(default);
    let line = |function_id| vec![proto::Line { function_id, line: 0 }];
    let location = [1, 2].map(|at| proto::Location { id: at, line: line(at), ..Default::default() }).to_vec();
    let value = columns.iter().map(|column| column.2).collect();
    let sample = vec![proto::Sample { location_id: vec![1, 2], value, ..Default::default() }];
    let profile = proto::Profile { sample_type, function, location, sample, default_sample_type, ..Default::default() };
    proto::Profile { string_table: table, ..profile }.encode_to_vec()
}

const PLAIN: [(&str, &str); 2] = [("f", "f"), ("main", "main")];

#[test]
fn a_pprof_is_about_its_default_values_else_its_last_ones_in_whatever_unit_of_time() {
    let place = Place::new();
    let import = |id: &str, bytes: Vec<u8>| {
        write(&place, &format!("{id}.pb"), bytes);
        place
            .run(&["import", &format!("{id}.pb"), "--queries", "10", "--seconds", "2", "--id", id])
            .assert_done(&place);
        answer(&place, &["hot", id])
    };
    let lock = [("lock_delay", "ns", 5), ("cpu-time", "ns", 30_000)];
    for (id, default, expected) in [("default", "lock_delay", 0.0005), ("last", "", 3.0), ("unknown", "x", 3.0)] {
        let (rows, text) = import(id, columns(&lock, default, PLAIN));
        assert!((micros(&rows, "[all sampled]", 1) - expected).abs() < 1e-12, "{id}: {rows:?}");
        assert!(text.contains(if id == "default" { "pprof (lock_delay)" } else { "pprof (cpu-time)" }), "{text}");
    }
    import("alone", columns(&[("cpu", "Hours", 1)], "", PLAIN));
    import("beside", columns(&[("cpu", "hr", 1), ("alloc_space", "bytes", 7)], "cpu", PLAIN));
    place.run(&["diff", "alone", "beside"]).assert(0, &[]);
    let (rows, _) = answer(&place, &["hot", "beside"]);
    assert_eq!(micros(&rows, "f", 1), 360e6);
    let (rows, _) = import("objects", columns(&[("samples", "count", 1), ("alloc_objects", "count", 70)], "", PLAIN));
    assert_eq!(cost(&rows, "f", 1), 7.0);
}

#[test]
fn a_pprofs_own_patterns_cut_its_stacks_and_a_text_in_another_encoding_is_read() {
    let place = Place::new();
    let names = [("malloc(unsigned long)", ""), ("main", "")];
    let mut file = proto::Profile::decode(&*columns(&[("cpu", "ns", 5)], "", names)).unwrap();
    (file.drop_frames, file.keep_frames) = (file.string_table.len() as i64, file.string_table.len() as i64 + 1);
    file.string_table.push("malloc|free".into());
    let mut bytes = file.encode_to_vec();
    // `repeated string string_table = 6`: a pattern that finds nothing, in Latin-1.
    bytes.extend([6 << 3 | 2, 1, 0xe9]);
    write(&place, "dropped.pb", bytes);
    let told = place.run(&["import", "dropped.pb", "--width", "400"]);
    told.assert_done(&place);
    let run = place.the_run();
    let profile = run.windows[0].profile.as_ref().unwrap();
    let path = profile.path(profile.samples[0].stack);
    let found: Vec<&str> = path.iter().map(|id| profile.frames[id.index()].name.as_str()).collect();
    assert_eq!((found, profile.total(0)), (vec!["main"], 5));
    let note = "dropped.pb: 1 of its 1 stacks are cut where its drop_frames says";
    assert!(run.manifest.notes.iter().any(|told| told == note), "{:?}", run.manifest.notes);
}

#[test]
fn names_that_a_producer_left_mangled_are_demangled_and_kernel_files_are_the_kernel() {
    let place = Place::new();
    let names = [("", "_RNvCs1234_7mycrate3foo"), ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "")];
    write(&place, "mangled.pb", columns(&[("cpu", "ns", 5)], "", names));
    place.run(&["import", "mangled.pb"]).assert_done(&place);
    let run = place.the_run();
    let profile = run.windows[0].profile.as_ref().unwrap();
    let path = profile.path(profile.samples[0].stack);
    let found: Vec<&str> = path.iter().map(|id| profile.frames[id.index()].name.as_str()).collect();
    assert_eq!(found, ["core::ptr::drop_in_place", "mycrate::foo"]);
}

#[test]
fn options_that_do_not_apply_are_told_or_refused_and_a_pipe_is_read() {
    let place = Place::new();
    write(&place, "good.pb", foreign(&[[1, 5]], 0).encode_to_vec());
    let told =
        place.run(&["import", "good.pb", "--weights", "samples", "--no-inlines", "--id", "told", "--width", "400"]);
    told.assert_done(&place);
    for option in ["--weights does not apply", "--no-inlines does not apply"] {
        assert!(told.err.contains(option), "{}", told.err);
    }
    write(&place, "f.folded", FOLDED);
    place.run(&["import", "f.folded", "--pid", "7"]).assert(3, &["folded stacks do not tell processes"]);
    let piped = "exec 3<f.folded; cat <&3 | \"$0\" \"$@\"";
    let command = place.command(&["import", "/dev/stdin", "--id", "piped"]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(piped).arg(command.get_program()).args(command.get_args()).current_dir(place.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Samples and frames by an independent reading of perf's own text: a sample's stack ends with an empty line. The
/// address 0, where a walk along frame pointers ended, is no frame.
fn counted(text: &str) -> (usize, usize) {
    let is_frame = |line: &&str| line.starts_with('\t') && !line.trim_start().starts_with("0 [unknown]");
    let stacks: Vec<usize> = text.split("\n\n").map(|stack| stack.lines().filter(is_frame).count()).collect();
    (stacks.iter().filter(|depth| **depth > 0).count(), stacks.iter().sum())
}

#[test]
fn whatever_fields_perf_prints_of_a_real_recording_its_stacks_are_the_same() {
    let place = Place::new();
    let perf = |arguments: &[&str]| {
        let output = Command::new("perf").args(arguments).current_dir(place.path()).stdin(Stdio::null()).output();
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let load = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
    let recorded =
        perf(&["record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-o", "p.data", "--", "sh", "-c", load]);
    let printed = |more: &[&str]| perf(&[&["script", "--no-inline", "-i", "p.data"], more].concat());
    let Some(plain) = recorded.and_then(|_| printed(&[])).filter(|text| counted(text).0 > 0) else {
        skip("perf is not here, or may not record");
        return;
    };
    let expected = counted(&plain);
    for (at, fields) in [
        &["--header"][..],
        &["--show-mmap-events", "--show-task-events", "--ns"],
        &["-F", "comm,pid,tid,time,period,event,ip,sym,dso"],
        &["-F", "comm,tid,time,ip,sym"],
        &["-F", "pid,ip,sym,dso"],
        &["-F", "comm,period,event,ip,sym,symoff,dso"],
        &["-F", "ip,sym"],
        &["-F", "+misc"],
    ]
    .iter()
    .enumerate()
    {
        let Some(text) = printed(fields) else { continue };
        let (file, id) = (format!("{at}.txt"), format!("run{at}"));
        write(&place, &file, &text);
        let imported = place.run(&["import", &file, "--id", &id]);
        assert!(imported.code <= 1, "{fields:?}: {}", imported.err);
        let run = wireprof::run::Store::new(place.runs()).load(&id).unwrap();
        let profile = run.windows[0].profile.as_ref().unwrap();
        let frames = profile.samples.iter().map(|sample| profile.walk(sample.stack).count()).sum();
        assert_eq!((profile.samples.len(), frames), expected, "{fields:?}");
        if let Some(cpu) = profile.column(&ColumnKind::Cpu) {
            let periods = printed(&["-F", "period"]).unwrap();
            let total: i64 = periods.split_whitespace().filter_map(|word| word.parse::<i64>().ok()).sum();
            assert_eq!(profile.total(cpu), total, "{fields:?}");
        }
    }
}
