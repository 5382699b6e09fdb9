//! Where a secret can come in, a canary does: in every option that can carry one, in files, in the environment; with
//! servers that take it, refuse it, or are none. Invariant: it is found in nothing that wireprof prints, stores, or
//! hands to a child, however the verb ends.

mod options;

use crate::binaries::WIREPROF;
use crate::postgres::Postgres;
use options::{Asked, assert_no_line_is_stale, with_secrets};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Of letters and digits, so that no encoding of a URL, of JSON or of SQL changes it.
const CANARY: &str = "S3CRcanary7x";
/// As `Authorization: Basic` has it: base64 of `u:` and the canary.
const BASIC: &str = "dTpTM0NSY2FuYXJ5N3g=";
/// Inputs, which have the canary.
const INPUTS: &str = "in";

/// A directory of a case's own: what verbs leave of the canary, they leave here.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for name in [INPUTS, "home", "tmp", "cache"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// An input file; its path.
    fn input(&self, name: &str, text: &str) -> String {
        let path = self.path().join(INPUTS).join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn command(&self, arguments: &[String], environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(WIREPROF);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path().join("home")).env("TMPDIR", self.path().join("tmp"));
        command.env("XDG_CACHE_HOME", self.path().join("cache"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Every place below, inputs aside, where the canary is.
    fn found(&self) -> Vec<String> {
        let (mut left, mut found) = (vec![self.path().to_path_buf()], Vec::new());
        while let Some(path) = left.pop() {
            if path.is_dir() {
                let inputs = self.path().join(INPUTS);
                left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()).filter(|path| *path != inputs));
            } else if has_canary(&contents(&path)) || has_canary(path.display().to_string().as_bytes()) {
                found.push(path.display().to_string());
            }
        }
        found
    }
}

/// A file's bytes, unpacked where they are gzip.
fn contents(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut unpacked = Vec::new();
    match flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked) {
        Ok(_) => unpacked,
        Err(_) => bytes,
    }
}

fn has_canary(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    [CANARY, BASIC].iter().any(|secret| text.contains(&secret.to_lowercase()))
}

/// What of a text has the canary, for the message of a failure.
fn around(text: &str) -> Vec<&str> {
    text.lines().filter(|line| has_canary(line.as_bytes())).take(4).collect()
}

/// An HTTP server that repeats what it was sent, with the status that the path begins with.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(repeat(stream))));
    port
}

fn repeat(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut head = [0; 4096];
    let length = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let status = head.split('/').nth(1).and_then(|path| path.get(..3)).unwrap_or("404");
    let body = if status == "200" { "# TYPE x counter\nx 1\n".to_string() } else { format!("no: {head}") };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Everything that is tried, what was seen of it, and which options had the canary.
struct Trial<'a> {
    postgres: &'a Postgres,
    http: u16,
    /// Options in whose value, or in the file that they name, the canary was.
    tried: BTreeSet<Asked>,
    wrong: Vec<String>,
}

impl Trial<'_> {
    /// Runs a verb; the canary may be nowhere, and the exit code is one of these.
    fn run(&mut self, place: &Place, codes: &[i32], arguments: &[&str], environment: &[(&str, String)]) {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        self.note(place, &arguments);
        let output = place.command(&arguments, environment).output().unwrap();
        let said = [&output.stdout[..], b"\n", &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let code = output.status.code().unwrap_or(-1);
        if !codes.contains(&code) || said.contains("panicked") {
            self.wrong.push(format!("{arguments:?} ended with {code}: {said}"));
        }
        let found = place.found();
        if has_canary(said.as_bytes()) || !found.is_empty() {
            self.wrong.push(format!("{arguments:?}: {:?} {found:?}", around(&said)));
        }
    }

    /// Which options of which verb have the canary.
    fn note(&mut self, place: &Place, arguments: &[String]) {
        let verb = arguments.iter().take_while(|argument| !argument.starts_with('-')).take(1).cloned();
        let verb = verb.collect::<Vec<_>>().join(" ");
        for (at, argument) in arguments.iter().enumerate().skip(1) {
            let of_file = place.path().join(argument.split('@').next().unwrap());
            let carries = has_canary(argument.as_bytes()) || of_file.is_file() && has_canary(&contents(&of_file));
            let before = arguments[at - 1].strip_prefix("-D").map_or(arguments[at - 1].clone(), |_| "--define".into());
            let option = if before.starts_with("--") { before } else { "paths".into() };
            if carries {
                self.tried.insert((verb.clone(), option));
            }
        }
    }
}

/// An address of each form that no server stands behind, or that refuses it.
fn addresses(port: u16) -> Vec<String> {
    vec![
        format!("postgres://u:{CANARY}@127.0.0.1:1/d"),
        format!("postgres://u:%zz{CANARY}@127.0.0.1:1/d"),
        format!("host=127.0.0.1 port=1 user=u dbname=d password={CANARY}"),
        format!("host=127.0.0.1 password='{CANARY}"),
        format!("postgres://by_scram:{CANARY}no@127.0.0.1:{port}/postgres"),
        format!("postgres://by_scram:{CANARY}@127.0.0.1:{port}/postgres?sslmode=verify-full"),
        format!("postgres://by_scram:{CANARY}@127.0.0.1:{port}/nosuch"),
    ]
}

/// Addresses of the server of metrics: refused, no HTTP, no TLS, unreachable.
fn http_addresses(port: u16) -> Vec<String> {
    vec![
        format!("http://u:{CANARY}@127.0.0.1:{port}/401?token={CANARY}"),
        format!("htp://u:{CANARY}@127.0.0.1:{port}/401"),
        format!("https://u:{CANARY}@127.0.0.1:{port}/401?token={CANARY}"),
        format!("http://u:{CANARY}@127.0.0.1:1/401?token={CANARY}"),
    ]
}

const SHORT: [&str; 9] =
    ["--levels", "1", "--window", "500ms", "--warmup", "20ms", "--no-sampling", "--no-off-cpu", "--no-wire"];

/// Verbs that measure with a load of their own, with what makes them short.
fn measuring() -> Vec<Vec<&'static str>> {
    let of = |verb: &[&'static str]| [verb, &SHORT, &["--no-follow"]].concat();
    vec![
        of(&["sweep", "--replicates", "1"]),
        of(&["compare", "--aa", "--max-replicates", "1"]),
        of(&["ladder", "--replicates", "1"]),
    ]
}

/// Wrong or refused addresses in every option that takes one.
fn refused_addresses(trial: &mut Trial, own: &str) {
    const FAILED: &[i32] = &[0, 1, 2, 3];
    let place = Place::new();
    let http = http_addresses(trial.http);
    let wrong = addresses(trial.postgres.port);
    let divisor = format!("delta(x{{password='{CANARY}'}})");
    for verb in measuring() {
        let base = [&verb[..], &["--preset", "generic", "--query", "select 1"]].concat();
        // What reads them is the same for all; what tells of them may not be.
        for url in wrong.iter().take(if verb[0] == "sweep" { usize::MAX } else { 1 }) {
            trial.run(&place, &[2, 3], &[&base[..], &["--url", url, "--no-metrics"]].concat(), &[]);
        }
        let plain = [&base[..], &["--url", own, "--statements-url", &wrong[4]]].concat();
        trial.run(&place, FAILED, &[&plain[..], &["--metrics-url", &http[1]]].concat(), &[]);
        trial.run(&place, &[2], &[&plain[..], &["--divisor", &divisor]].concat(), &[]);
        let materialize = [&verb[..], &["--preset", "materialize", "--query", "select 1", "--url", own]].concat();
        trial.run(&place, FAILED, &[&materialize[..], &["--internal-url", &wrong[4]]].concat(), &[]);
    }
    let plain = [&measuring()[0][..], &["--preset", "generic", "--query", "select 1", "--url", own]].concat();
    for url in [&http[0], &http[2]] {
        trial.run(&place, &[3], &[&plain[..], &["--metrics-url", url]].concat(), &[]);
    }
    trial.run(&place, &[0, 1], &[&plain[..], &["--statements-url", &wrong[4], "--no-metrics"]].concat(), &[]);
    for url in [&wrong[1], &wrong[4]] {
        let all = ["doctor", "--url", url, "--internal-url", url, "--statements-url", url, "--preset", "materialize"];
        trial.run(&place, FAILED, &[&all[..], &["--metrics-url", &http[0]]].concat(), &[]);
    }
    trial.run(&place, &[2], &["record", "--divisor", &divisor, "--url", &wrong[0]], &[]);
    companions_of_other_hosts(trial, &place, own);
    for url in [&http[0], &http[2]] {
        let record = ["record", "--no-sampling", "--no-wire", "--no-off-cpu", "--window", "500ms", "--divisor"];
        let from = ["statements(x)", "--url", own, "--statements-url", &wrong[4], "--metrics-url", url];
        trial.run(&place, FAILED, &[&record[..], &from].concat(), &[]);
    }
    let compare = [&["compare", "--preset", "generic", "--query", "select 1"][..], &SHORT].concat();
    trial.run(&place, &[2, 3], &[&compare[..], &["--a-url", &wrong[0], "--b-url", &wrong[2]]].concat(), &[]);
}

/// Passwords where ssh takes none, and where a server's own profile takes one that is not there.
fn companions_of_other_hosts(trial: &mut Trial, place: &Place, own: &str) {
    let also = [format!("ssh://u:{CANARY}@127.0.0.1:1/x"), format!("htp://u:{CANARY}@127.0.0.1:1/x")];
    for verb in measuring().iter().map(|verb| verb[0]).chain(["record"]) {
        let query: &[&str] = if verb == "record" { &[] } else { &["--query", "select 1"] };
        for also in &also {
            trial.run(
                place,
                &[2],
                &[&[verb, "--preset", "generic", "--url", own, "--also", also][..], query].concat(),
                &[],
            );
        }
    }
}

/// Statements with a secret that the server refuses, in every option and file that takes one.
fn refused_statements(trial: &mut Trial, own: &str) {
    let place = Place::new();
    let sql = format!("alter role nosuch password '{CANARY}'");
    let slip = format!("alter role nosuch passwordd '{CANARY}'");
    place.input("setup.ini", &format!("[setup]\nquery={sql}\n[load]\nquery=select 1\n"));
    place.input("load.ini", &format!("[load]\nquery={slip}\n"));
    place.input("wrong.ini", &format!("[load]\npassword='{CANARY}'\n"));
    place.input("pgbench.sql", &format!("\\set password '{CANARY}'\n{sql};\n"));
    place.input("steps.toml", &format!("inherits = \"generic\"\n[[setup]]\nstatement = \"{sql}\"\n"));
    let url = format!("postgres://u:{CANARY}@127.0.0.1:1/d");
    place.input("key.toml", &format!("inherits = \"generic\"\n[connect]\nurll = \"{url}\"\n"));
    place.input("form.toml", &format!("inherits = \"generic\"\n[connect]\nurl = \"{url}\nmetrics = \"x\"\n"));
    place.input("value.toml", &format!("inherits = \"generic\"\n[connect]\nurl = [\"{url}\"]\n"));
    for verb in measuring() {
        let base = [&verb[..], &["--no-metrics", "--preset", "generic", "--url", own]].concat();
        for query in [&sql, &slip] {
            trial.run(&place, &[0, 1, 2], &[&base[..], &["--query", query]].concat(), &[]);
        }
        for file in ["in/setup.ini", "in/load.ini", "in/wrong.ini", "in/pgbench.sql"] {
            trial.run(&place, &[0, 1, 2, 3], &[&base[..], &["--workload", file]].concat(), &[]);
        }
        let define = format!("password={CANARY}");
        let defined = ["--workload", "builtin:select-only", "-D", &define];
        trial.run(&place, &[2, 3], &[&base[..], &defined].concat(), &[]);
    }
    let lines = ["--json-lines", "--query", &slip, "--preset", "generic", "--url", own, "--no-metrics"];
    trial.run(&place, &[2], &[&["sweep"][..], &SHORT, &lines].concat(), &[]);
    trial.run(&place, &[2], &["sweep", "--json", "--preset", "in/value.toml"], &[]);
    let presets: Vec<String> = with_secrets().into_iter().filter(|(_, o)| o == "--preset").map(|(v, _)| v).collect();
    for verb in presets {
        let all = ["in/steps.toml", "in/key.toml", "in/value.toml", "in/form.toml"];
        // The others read a preset as `sweep` does.
        for file in if verb == "sweep" { &all[..] } else { &all[2..] } {
            let more: &[&str] = match verb.as_str() {
                "sweep" | "compare" | "ladder" => &["--url", own, "--query", "select 1", "--no-metrics"],
                "diff" => &["latest", "latest"],
                "export" => &["--format", "csv"],
                // Refused before it is sent.
                "push" => &["--to", "otlp=http://127.0.0.1:1", "--what", "hands"],
                "import" => &["nosuch"],
                _ => &[],
            };
            trial.run(&place, &[0, 1, 2, 3], &[&[verb.as_str(), "--preset", file][..], more].concat(), &[]);
        }
    }
    compared_statements(trial, &place, own);
}

/// Sides that differ in what has a secret.
fn compared_statements(trial: &mut Trial, place: &Place, own: &str) {
    let sql = format!("alter role nosuch password '{CANARY}'");
    let base = [&["compare", "--max-replicates", "1", "--preset", "generic", "--no-metrics"][..], &SHORT].concat();
    let base = [&base[..], &["--query", "select 1"]].concat();
    let to = [&base[..], &["--url", own]].concat();
    trial.run(place, &[1, 2], &[&to[..], &["--a-sql", &sql]].concat(), &[]);
    trial.run(place, &[1, 2], &[&to[..], &["--b-sql", &sql]].concat(), &[]);
    let parameter = format!("alter system set my.password = '{CANARY}'");
    for side in ["--a-internal-sql", "--b-internal-sql"] {
        trial.run(place, &[1, 2, 3], &[&to[..], &[side, &parameter, "--internal-url", own]].concat(), &[]);
        trial.run(place, &[2], &[&to[..], &[side, &sql, "--internal-url", own]].concat(), &[]);
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (a, b) = (format!("PGPASSWORD={CANARY} false"), format!("false --db postgres://u:{CANARY}@h/d"));
    let (here, there) = (format!("postgres://u@127.0.0.1:{free}/d"), format!("API_TOKEN={CANARY}"));
    let says = format!("echo token=$API_TOKEN --password {CANARY} >&2; false");
    for [a, b] in [[&a, &b], [&says, &a]] {
        let sides = ["--url", &here, "--a-command", a, "--b-command", b, "--a-env", &there, "--b-env", &there];
        trial.run(place, &[2, 3], &[&base[..], &sides].concat(), &[]);
    }
}

/// Runs that succeed by a secret, from wherever it can come.
fn accepted(trial: &mut Trial) {
    let port = trial.postgres.port;
    let of = |user: &str| format!("postgres://{user}@127.0.0.1:{port}/postgres");
    let full = of(&format!("by_scram:{CANARY}"));
    let metrics = format!("http://u:{CANARY}@127.0.0.1:{}/200?token={CANARY}", trial.http);
    let sql = format!("select 1 /* password '{CANARY}' */");
    let place = Place::new();
    let passfile = place.input("pgpass", &format!("127.0.0.1:{port}:*:by_scram:{CANARY}\n"));
    let service = format!("[s]\nhost=127.0.0.1\nport={port}\nuser=by_scram\ndbname=postgres\npassword={CANARY}\n");
    let services = place.input("service", &service);
    let sweep = [&["sweep", "--preset", "postgres", "--full"][..], &SHORT].concat();
    let with = |more: &[&'static str]| [&sweep[..], more].concat();
    let all = ["--query", &sql, "--url", &full, "--statements-url", &full, "--metrics-url", &metrics];
    trial.run(&place, &[0, 1], &[&with(&[])[..], &all].concat(), &[]);
    let json = ["--query", &sql, "--url", &of("by_scram")];
    let sweep = [&["sweep", "--preset", "generic", "--json-lines", "--no-metrics"][..], &SHORT].concat();
    let own = |name: &'static str, value: String| [(name, value), ("WIREPROF_PROFILER_TOKEN", CANARY.to_string())];
    trial.run(&place, &[0, 1], &[&sweep[..], &json].concat(), &own("PGPASSWORD", CANARY.into()));
    trial.run(&place, &[0, 1], &[&sweep[..], &json].concat(), &own("PGPASSFILE", passfile));
    let by_service = [&sweep[..], &["--query", "select 1", "--url", "service=s"]].concat();
    trial.run(&place, &[0, 1], &by_service, &own("PGSERVICEFILE", services));
    let sides = ["--b-sql", &format!("set my.password = '{CANARY}'")];
    let compare = [&["compare", "--preset", "generic", "--no-metrics", "--max-replicates", "1"][..], &SHORT].concat();
    trial.run(&place, &[0, 1], &[&compare[..], &json, &sides].concat(), &own("PGPASSWORD", CANARY.into()));
    stored_and_shown(trial, &place);
}

/// What the runs that were made are read by, and sent by.
fn stored_and_shown(trial: &mut Trial, place: &Place) {
    for verb in [
        &["explain", "--full"][..],
        &["report", "-o", "report.html"],
        &["log", "new", "--title", "x", "--log", "log.md"],
        &["runs", "latest", "--json"],
        &["statements"],
        &["export", "--format", "json", "-o", "tables.json"],
    ] {
        trial.run(place, &[0, 1, 2], verb, &[]);
    }
    let token = [("WIREPROF_PROFILER_TOKEN", CANARY.to_string())];
    place.input("token", &format!("{CANARY}\n"));
    let port = trial.http;
    let by_user = format!("http://u:{CANARY}@127.0.0.1:{port}");
    let none = format!("https://u:{CANARY}@127.0.0.1:{port}/401?token={CANARY}");
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/testbed");
    trial.run(place, &[0, 1], &["import", recorded, "--preset", "testbed", "--id", "imported"], &token);
    for url in [&format!("{by_user}/401"), &none, &format!("u:{CANARY}@h"), &format!("ftp://u:{CANARY}@h/")] {
        // One that does not answer is asked again for seconds.
        if *url != none {
            trial.run(place, &[1, 2], &["push", "imported", "--to", &format!("pyroscope={url}")], &[]);
            trial.run(place, &[1, 2], &["push", "imported", "--to", &format!("otlp={url}")], &token);
        }
        let (from, query) = (format!("pyroscope={url}"), format!("a:b:c:d:e{{password=\"{CANARY}\"}}"));
        trial.run(place, &[1, 2, 3], &["import", "--from", "30m", "--query", &query, &from], &[]);
    }
    let to = format!("otlp=http://127.0.0.1:{port}/401");
    trial.run(place, &[1], &["push", "imported", "--to", &to, "--token-file", "in/token"], &[]);
}

#[test]
fn a_secret_is_neither_printed_nor_stored_by_any_verb_whether_it_succeeds_or_fails() {
    assert_no_line_is_stale();
    let Some(postgres) = Postgres::start("shared_preload_libraries = 'pg_stat_statements'") else { return };
    postgres.run(&["create extension pg_stat_statements"]);
    postgres.run(&["set password_encryption = 'scram-sha-256'", &format!("alter role by_scram password '{CANARY}'")]);
    let own = postgres.url("postgres");
    let mut trial = Trial { postgres: &postgres, http: echo(), tried: BTreeSet::new(), wrong: Vec::new() };
    accepted(&mut trial);
    refused_addresses(&mut trial, &own);
    refused_statements(&mut trial, &own);
    assert!(trial.wrong.is_empty(), "{}:\n{}", trial.wrong.len(), trial.wrong.join("\n"));
    let missed: Vec<Asked> = with_secrets().difference(&trial.tried).cloned().collect();
    assert!(missed.is_empty(), "no canary was tried in, and no line says why it cannot carry a secret: {missed:?}");
}

/// Processes that this one started, and what they started.
fn descendants(of: u32) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let parent = |path: &Path| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let all: Vec<(u32, u32, PathBuf)> =
        processes.filter_map(|path| Some((number(&path)?, parent(&path)?, path))).collect();
    let mut known = vec![of];
    let mut found = Vec::new();
    while let Some(pid) = known.pop() {
        for (child, _, path) in all.iter().filter(|(_, parent, _)| *parent == pid) {
            known.push(*child);
            found.push(path.clone());
        }
    }
    found
}

#[test]
fn no_child_has_a_secret_of_wireprofs_in_its_arguments_or_environment() {
    let place = Place::new();
    let url = format!("http://u:{CANARY}@127.0.0.1:{}/404?token={CANARY}", echo());
    let sweep = ["sweep", "--testbed", "--levels", "1", "--window", "500ms", "--warmup", "20ms", "--no-follow"];
    let arguments: Vec<String> = sweep.iter().map(ToString::to_string).collect();
    let environment =
        [("PGPASSWORD", CANARY.to_string()), ("WIREPROF_PROFILER_TOKEN", CANARY.to_string()), ("DEBUGINFOD_URLS", url)];
    // The testbed's PostgreSQL runs as another user.
    for path in [place.path().to_path_buf(), place.path().join("tmp")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = place.command(&arguments, &environment);
    let (out, err) = (place.path().join("out"), place.path().join("err"));
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let (mut seen, mut leaks) = (BTreeSet::new(), BTreeSet::new());
    while child.try_wait().unwrap().is_none() {
        for path in descendants(child.id()) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_string();
            let [arguments, environment] =
                ["cmdline", "environ"].map(|part| fs::read(path.join(part)).unwrap_or_default());
            // Before it has a program of its own a child is a copy of wireprof.
            if !arguments.starts_with(WIREPROF.as_bytes()) {
                leaks.extend(secrets(&arguments).chain(secrets(&environment)).map(|leak| format!("{name}: {leak}")));
            }
            seen.insert(name);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = fs::read_to_string(&err).unwrap();
    if said.contains("no PostgreSQL server found") {
        return crate::skip::skip("no PostgreSQL server found; install the package `postgresql`");
    }
    assert!(child.wait().unwrap().code().is_some_and(|code| code <= 1), "{said}");
    assert!(seen.contains("wireprof-testbe") && seen.contains("postgres"), "{seen:?}");
    assert!(leaks.is_empty(), "{leaks:?}");
    assert!(place.found().is_empty(), "{:?}", place.found());
}

/// Arguments or variables with the canary. The servers of debug files are told to any program that may ask them.
fn secrets(of: &[u8]) -> impl Iterator<Item = String> {
    let with = of.split(|byte| *byte == 0).filter(|part| has_canary(part) && !part.starts_with(b"DEBUGINFOD_URLS="));
    with.map(|part| String::from_utf8_lossy(part).into_owned())
}
