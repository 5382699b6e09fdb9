//! dbbench scripts as a user writes them: what they mean, and what is said of those that are wrong.

use std::fs;
use std::path::Path;
use std::time::Duration;
use wireprof::workload::{Job, Pace, Work, Workload};

fn parse(text: &str) -> Workload {
    Workload::parse(text, Path::new("."), "w.ini").unwrap()
}

fn refusal(text: &str) -> String {
    Workload::parse(text, Path::new("."), "w.ini").unwrap_err().to_string()
}

fn job(text: &str) -> Job {
    parse(text).jobs.remove(0)
}

#[test]
fn the_script_of_the_hand_off_prompt_is_read() {
    let workload = parse("duration=20s\n\n[64 connections]\nquery=select * from t\nconcurrency=64\n");
    assert_eq!(workload.duration, Some(Duration::from_secs(20)));
    assert_eq!(workload.jobs.len(), 1);
    assert_eq!(workload.jobs[0].name, "64 connections");
    assert_eq!(workload.jobs[0].pace, Pace::Closed { concurrency: 64 });
    assert_eq!(workload.distinct_statements(), ["select * from t"]);
    assert_eq!(workload.connections(16).unwrap(), [16]);
}

#[test]
fn every_option_of_a_whole_script_is_honoured() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("setup.sql", "create table t (a text);\ninsert into t values (';');\n");
    write("both.sql", "select 1; select 2");
    write("args.tsv", "a\tb\nc\td\n");
    write("log", "100,select 1\n350,select 2\n400,select 3\n");
    let text = "; a comment\nduration=1m\nerror=40001\nerror=40P01\n\n[setup]\nquery-file=setup.sql\nquery=analyze t;\n\
        [teardown]\nquery=drop table t\n\
        [closed]\nquery=select \\\n 7\nqueue-depth=3\ncount=10\nstart=1s\nstop=30s\n\
        [open]\nquery=select $1, $2\nquery-args-file=args.tsv\nquery-args-delim=\"\\t\"\nrate=2.5\nbatch-size=4\n\
        [several]\nquery-file=both.sql\nmulti-query-mode=multi-connection\n\
        [log]\nquery-log-file=log\ncount=2\n";
    let workload = Workload::parse(text, directory.path(), "w.ini").unwrap();
    assert_eq!(workload.duration, Some(Duration::from_secs(60)));
    assert_eq!(workload.accepted_errors, ["40001", "40P01"]);
    assert_eq!(workload.setup, ["create table t (a text)", "insert into t values (';')", "analyze t"]);
    assert_eq!(workload.teardown, ["drop table t"]);
    let names: Vec<_> = workload.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["closed", "open", "several", "log"]);

    let [closed, open, several, log] = &workload.jobs[..] else { panic!("four jobs") };
    assert_eq!(closed.statements().collect::<Vec<_>>(), ["select  7"]);
    assert_eq!((closed.pace, closed.count), (Pace::Closed { concurrency: 3 }, Some(10)));
    assert_eq!((closed.start, closed.stop), (Duration::from_secs(1), Some(Duration::from_secs(30))));
    assert_eq!(open.pace, Pace::Rate { per_second: 2.5, batch: 4 });
    let Work::Statements { arguments: Some(arguments), .. } = &open.work else { panic!("arguments") };
    assert_eq!(arguments.rows[1].fields, ["c", "d"]);
    assert_eq!(several.statements().collect::<Vec<_>>(), ["select 1", "select 2"]);
    assert_eq!(several.pace, Pace::Closed { concurrency: 1 });
    let Work::Log(entries) = &log.work else { panic!("a log") };
    assert_eq!(entries.iter().map(|e| e.offset.as_micros()).collect::<Vec<_>>(), [0, 250]);
    assert_eq!((log.pace, log.count), (Pace::Recorded, None));
}

#[test]
fn what_is_wrong_is_named_with_line_and_remedy() {
    for (text, expected) in [
        ("", "w.ini:1: the script has no job; add a section"),
        ("durations=1s", "w.ini:1: `durations`: no such option in section \"global\"; the options are duration, error"),
        ("duration=20", "w.ini:1: `duration`: \"20\" is no duration; give a number with its unit"),
        ("error=deadlock", "w.ini:1: `error`: \"deadlock\" is no SQLSTATE"),
        (
            "[setup]\ncount=1",
            "w.ini:2: `count`: no such option in section \"setup\"; the options are query, query-file",
        ),
        ("[a]\nconcurrency=1", "w.ini:1: job \"a\" has nothing to send; add `query=`"),
        ("[a]\nquery=x\nthreads=2", "w.ini:3: `threads`: no such option in section \"a\""),
        ("[a]\nquery=x\nconcurrency=two", "w.ini:3: `concurrency`: \"two\" is not a whole number"),
        ("[a]\nquery=x\nconcurrency=0", "w.ini:3: `concurrency`: a job without connections sends nothing"),
        ("[a]\nquery=x\nconcurrency=1\nqueue-depth=1", "w.ini:4: `queue-depth`: the same as `concurrency` on line 3"),
        ("[a]\nquery=x\ncount=1\ncount=2", "w.ini:4: `count`: already given on line 3; remove one of the two"),
        ("[a]\nquery=x\nrate=-1", "w.ini:3: `rate`: -1 is no rate"),
        ("[a]\nquery=x\nrate=1\nconcurrency=2", "w.ini:4: `concurrency`: excludes `rate` on line 3; keep one of"),
        ("[a]\nquery=x\nbatch-size=2", "w.ini:3: `batch-size`: only batches with a rate have a size"),
        ("[a]\nquery=x\nquery=y", "w.ini:1: job \"a\" has 2 statements; add `multi-query-mode=multi-connection`"),
        ("[a]\nquery=x\nmulti-query-mode=one", "w.ini:3: `multi-query-mode`: no such mode: \"one\""),
        ("[a]\nquery=begin", "w.ini:2: `query`: transactions over several statements are not supported"),
        ("[a]\nquery=start transaction", "w.ini:2: `query`: transactions over several statements"),
        ("[a]\nquery=use x", "w.ini:2: `query`: the database cannot be changed by a statement; name it in the URL"),
        ("[a]\nquery=;", "w.ini:2: `query`: the statement is empty"),
        ("[a]\nquery-file=/nonexistent", "w.ini:2: `query-file`: cannot read /nonexistent: No such file"),
        ("[a]\nquery-log-file=/nonexistent", "w.ini:2: `query-log-file`: cannot read /nonexistent"),
        ("[a]\nquery=x\nquery-log-file=y", "w.ini:3: `query-log-file`: excludes `query` and `query-file`"),
        ("[a]\nquery-args-file=y\nquery-log-file=y", "w.ini:2: `query-args-file`: excludes `query-log-file`"),
        ("[a]\nquery=x\nquery-args-file=/nonexistent", "w.ini:3: `query-args-file`: cannot read /nonexistent"),
        ("[a]\nquery=x\nquery-args-file=/dev/zero", "w.ini:3: `query-args-file`: /dev/zero is no regular file"),
        ("[a]\nquery=x\nquery-args-delim=\"ab\"", "w.ini:3: `query-args-delim`: \"\\\"ab\\\"\" is not one character"),
        (
            "[a]\nquery=x\nquery-args-delim=\";\"",
            "w.ini:3: `query-args-delim`: there is no `query-args-file` to delimit",
        ),
        ("[a]\nquery=x\nquery-results-file=y", "w.ini:3: `query-results-file`: writing the rows would be charged"),
        ("[a]\nquery=x\nstart=5s\nstop=2s", "w.ini:4: `stop`: the job stops before it starts"),
        ("duration=1s\n[a]\nquery=x\nstop=2s", "w.ini:4: `stop`: the job stops after the script's duration"),
        ("duration=1s\n[a]\nquery=x\nstart=2s", "w.ini:2: job \"a\" starts after the script's duration"),
    ] {
        let message = refusal(text);
        assert!(message.starts_with(expected), "{text:?}\n gave {message}\n not  {expected}");
        assert!(message.contains("; "), "no remedy in {message}");
    }
}

#[test]
fn zero_means_without_limit_as_in_dbbench() {
    let job = job("[a]\nquery=x\ncount=0\nrate=0\nstop=0s\nbatch-size=0");
    assert_eq!((job.count, job.stop, job.pace), (None, None, Pace::Closed { concurrency: 1 }));
}

#[test]
fn a_workload_written_for_dbbench_reads_back_as_itself() {
    let text = "error=40001\n[a]\nquery=select $1\nquery=select \
                2\nmulti-query-mode=multi-connection\nrate=0.5\nbatch-size=3\n\
        count=9\nstart=1s\nstop=3s\n[b]\nquery=select 3\nconcurrency=7\n";
    let workload = parse(text);
    let again = parse(&workload.to_ini(8).unwrap());
    assert_eq!(again, workload, "level 8 is one connection for the rate and 7 for b");
    assert!(parse("[a]\nquery=x").to_ini(12).unwrap().contains("\nconcurrency=12\n"));
}

#[test]
fn what_dbbench_would_refuse_is_refused_before_it_is_started() {
    let error = Workload::from_query("select ';'").to_ini(1).unwrap_err().to_string();
    assert_eq!(error, "job \"query\" has a statement with a `;`, which dbbench refuses; rewrite it without");
}

#[test]
fn a_missing_script_is_said_with_its_path() {
    let error = Workload::load(Path::new("/nonexistent/w.ini")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/w.ini: cannot read the workload: No such file"), "{error}");
}

#[test]
fn a_plain_query_is_a_closed_loop_of_one() {
    let workload = Workload::from_query("select 1; select 2");
    assert_eq!(workload.distinct_statements(), ["select 1; select 2"]);
    assert_eq!(workload.jobs[0].pace, Pace::Closed { concurrency: 1 });
}
