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
    let broken = Workload::from_query("select 'a\nb'").to_ini(1).unwrap_err().to_string();
    assert!(broken.contains("has a line break within quotes"), "{broken}");
    assert!(Workload::from_query("select 'a'\n, 2").to_ini(1).unwrap().contains("query=select 'a' , 2\n"));
    // Written as it is it would swallow the line behind it.
    let open = parse("[a]\nquery=select 1 \\\\\n\nconcurrency=2").to_ini(2).unwrap_err().to_string();
    assert!(open.contains("ends in a `\\`, which would join the next line to it; remove the `\\`"), "{open}");
    // U+0085 is white space to dbbench, and a letter of a name to PostgreSQL.
    assert!(Workload::from_query("select a\n \u{85}, 2").to_ini(1).unwrap().contains("query=select a \u{85}, 2\n"));
    let letter = Workload::from_query("select 1 as \u{85}").to_ini(1).unwrap_err().to_string();
    assert!(letter.contains("begins or ends with a blank that is part of a name, which dbbench drops"), "{letter}");
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

/// The statements and the refusal of a pgbench script in a file of this name.
fn pgbench(name: &str, text: &str, defined: &[(&str, &str)]) -> Result<Workload, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, text).unwrap();
    let defined: Vec<_> = defined.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let path = file.display().to_string();
    wireprof::workload::pgbench::load(std::slice::from_ref(&path), &defined)
        .map_err(|error| error.to_string().replace(&path, name))
}

fn sent(text: &str) -> Vec<String> {
    let workload = pgbench("s.sql", text, &[("x", "1"), ("int", "2")]).unwrap();
    workload.jobs[0].statements().map(String::from).collect()
}

#[test]
fn a_pgbench_script_is_cut_into_the_statements_that_pgbench_sends() {
    assert_eq!(sent("select 1"), ["select 1"], "the last one needs no semicolon");
    assert_eq!(sent("begin;\nselect\n  :x;select 2 ; end;\n"), ["begin", "select\n  :x", "select 2", "end"]);
    assert_eq!(sent("-- a comment\n;\n/* ; */ select ';' ; ;"), ["/* ; */ select ';'"]);
    assert_eq!(sent("select 1 \\; select 2;"), ["select 1 ; select 2"]);
    assert_eq!(sent("select $$;:x$$, $a$;$a$, E'\\';', \";\";"), ["select $$;:x$$, $a$;$a$, E'\\';', \";\""]);
    assert_eq!(sent("select 1 \\set y 2\nselect 3;"), ["select 1", "select 3"]);
    assert_eq!(sent("select :x::int, 1::int, a[1:2], '12:30', :x:y;\\set y 1\n").len(), 1);
    assert_eq!(sent("\\set y \\\n  1 + \\\n  2\nselect :y;"), ["select :y"]);
    assert_eq!(sent("select 1 as one \\gset p_\nselect :p_one;"), ["select 1 as one", "select :p_one"]);
    assert_eq!(sent("select 1 as one;\\gset\nselect 6\\:x, :one;"), ["select 1 as one", "select 6:x, :one"]);
    assert_eq!(sent("\\if :x = 1\nselect 1;\n\\elif :x > 2\nselect 2;\n\\else\nselect 3;\n\\endif\n").len(), 3);
    let body = "create function f() returns int language sql begin atomic select 1; select 2; end";
    assert_eq!(sent(&format!("{body};")), [body]);
}

#[test]
fn what_is_not_honoured_of_pgbench_is_refused_with_its_line() {
    for (text, said) in [
        ("select 1;\n\\shell true\n", "s.sql:2: \\shell runs a program"),
        ("\\setshell a echo 1\nselect 1;", "s.sql:1: \\setshell runs a program"),
        ("select 1;\n\n  \\startpipeline\n", "s.sql:3: \\startpipeline"),
        ("\\echo a\nselect 1;", "s.sql:1: \\echo is no command of pgbench"),
        ("\\set a ceil(1)\nselect 1;", "s.sql:1: pgbench has no function ceil()"),
        ("\\set a\nselect 1;", "s.sql:1: \\set has no name and value"),
        ("\\set 1a 2\nselect 1;", "s.sql:1: \\set has no name and value"),
        ("\\sleep 1 h\nselect 1;", "s.sql:1: \\sleep has the unit \"h\""),
        ("\\if 1\nselect 1;", "s.sql:1: \\if has no \\endif"),
        ("select 1;\n\\endif", "s.sql:2: \\endif follows no \\if"),
        ("\\if 1\n\\else\n\\elif 1\n\\endif\nselect 1;", "s.sql:3: it follows no \\if"),
        ("\\gset\nselect 1;", "s.sql:1: no statement precedes it"),
        ("select 1;\n\\set a 1\n\\gset", "s.sql:3: no statement precedes it"),
        ("select 1 \\gset\n\\gset", "s.sql:2: no statement precedes it"),
        ("select\n :nowhere;", "s.sql:2: nothing sets the variable :nowhere"),
        ("copy t from stdin;\n", "s.sql:1: COPY from standard input"),
        ("\\set a 1\n", "s.sql:1: the script sends no statement"),
    ] {
        let refusal = pgbench("s.sql", text, &[]).unwrap_err();
        assert!(refusal.starts_with(said) && refusal.contains("; "), "{text:?}: {refusal}");
    }
    assert!(pgbench("s.sql", "select a[1:n], ':no', '1:m';", &[]).is_ok(), "colons that mean no variable");
    assert!(pgbench("w.ini", "[a]\nquery=select 1", &[("x", "1")]).unwrap_err().contains("leave out -D"));
}

#[test]
fn scripts_are_told_from_dbbench_by_name_and_else_by_their_first_line() {
    let scripts = |name, text| matches!(pgbench(name, text, &[]).unwrap().jobs[0].work, Work::Scripts(_));
    assert!(
        scripts("s.pgbench", "select 1") && scripts("s", "-- [a]\nselect 1") && scripts("s", "\\set a 1\nselect 1")
    );
    assert!(scripts("s.txt", "update t set a = 1"));
    assert!(!scripts("w.ini", "[a]\nquery=select 1") && !scripts("w", "; c\n[a]\nquery=select 1"));
    assert!(!scripts("w.txt", "duration=1s\n[a]\nquery=select 1"));
}

#[test]
fn built_in_scripts_and_weights_are_written_as_for_pgbench() {
    let load = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        wireprof::workload::pgbench::load(&wanted, &[]).map_err(|error| error.to_string())
    };
    let workload = load(&["builtin:tpcb@3", "builtin:select-only", "builtin:simple-update@0"]).unwrap();
    let Work::Scripts(mix) = &workload.jobs[0].work else { panic!("no scripts") };
    let scripts: Vec<_> = mix.scripts.iter().map(|script| (script.name.as_str(), script.weight)).collect();
    assert_eq!(scripts, [("tpcb-like", 3), ("select-only", 1), ("simple-update", 0)]);
    assert_eq!((mix.scripts[0].statements.len(), mix.wants_scale), (7, true));
    assert!(load(&["builtin:s"]).unwrap_err().contains("they are tpcb-like, simple-update, select-only"));
    assert!(load(&["builtin:tpcb@0"]).unwrap_err().contains("a weight above 0"));
    assert!(load(&["/nowhere.sql"]).unwrap_err().contains("/nowhere.sql"));
}
