//! Exports in the hands of the tools that they are for, where these are installed, and `wireprof open` as a browser
//! meets it.

use crate::browser::Browser;
use crate::export_run::{CPU, ID, exported, place};
use crate::schema;
use crate::skip::skip;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The first of these programs that runs.
fn program(names: &[&'static str], version: &str) -> Option<&'static str> {
    let runs = |name: &&&str| Command::new(name).arg(version).output().is_ok_and(|output| output.status.success());
    names.iter().find(runs).copied()
}

#[test]
fn go_tool_pprof_counts_the_same_nanoseconds() {
    let Some(go) = program(&["go"], "version") else {
        return skip("Go is not installed: install the package `golang-go`");
    };
    let place = place();
    for (level, nanos) in CPU {
        let name = format!("-L{level}.pb.gz");
        exported(&place, &["pprof"], &name);
        let mut pprof = Command::new(go);
        pprof.args(["tool", "pprof", "-top", "-sample_index=cpu", "-unit=ns"]);
        let output = pprof.arg(place.path().join(format!("20261122-101530-testbed{name}"))).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("Total samples = {nanos}ns ")), "{text}");
        assert!(text.contains("tcp_recvmsg"), "{text}");
    }
}

/// speedscope's page, as `scripts/install speedscope` puts it among the tools.
fn speedscope() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules/speedscope/dist/release");
    let page = tools.join("index.html");
    page.is_file().then(|| page.canonicalize().unwrap())
}

#[test]
fn speedscopes_own_importer_shows_each_profile_with_its_weight() {
    let Some(page) = speedscope() else { return skip("speedscope is not installed: scripts/install speedscope") };
    let Some(chromium) = program(&["chromium", "chromium-browser"], "--version") else {
        return skip("Chromium is not installed: install the package `chromium`");
    };
    let place = place();
    let file = exported(&place, &["speedscope"], ".speedscope.json");
    let script = place.path().join("profile.js");
    use base64::Engine;
    let packed = base64::engine::general_purpose::STANDARD.encode(&file);
    std::fs::write(&script, format!("speedscope.loadFileFromBase64('x.json', '{packed}')")).unwrap();
    let mut browser = Command::new(chromium);
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]);
    browser.arg("--virtual-time-budget=20000").arg(format!("--user-data-dir={}", place.path().join("user").display()));
    browser.arg(format!("file://{}#localProfilePath={}", page.display(), script.display()));
    let output = browser.stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("<title>wireprof run 20261122-101530-testbed - speedscope</title>"), "{shown}");
    for (level, weight) in [(4, "40.16ms"), (16, "80.31ms")] {
        let row =
            shown.split("<tr ").find(|row| row.contains(&format!("title=\"level {level}, CPU: server, worker\"")));
        assert!(row.is_some_and(|row| row.contains(&format!(">{weight}<"))), "level {level}: {row:?}");
    }
}

/// The Firefox Profiler's own reader, as `scripts/install firefox-profiler` puts it among the tools. It keeps a profile
/// in a process of its own, which ends with this value.
struct Reader {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Reader {
    fn of(profile: &Path) -> Option<Reader> {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules/.bin/profiler-cli");
        if !program.exists() {
            skip("the Firefox Profiler's reader is not installed: scripts/install firefox-profiler");
            return None;
        }
        for _ in 0..10 {
            let reader = Reader { program: program.clone(), home: tempfile::tempdir().unwrap() };
            let loaded = reader.run(&["load", profile.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&loaded.stderr);
            if loaded.status.success() {
                return Some(reader);
            }
            // It gives its process half a second to start, which a busy machine does not.
            let late = said.split("may still be running as pid ").nth(1);
            let pid = late.and_then(|late| late.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            wireprof::child::signal(pid.unwrap_or_else(|| panic!("{said}")), libc::SIGKILL);
        }
        panic!("the reader did not start in ten attempts")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program).args(arguments).env("HOME", self.home.path()).output().unwrap()
    }

    fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.told(&[arguments, &["--json"]].concat())).unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = Command::new(&self.program).args(["stop", "--all"]).env("HOME", self.home.path()).output();
    }
}

#[test]
fn the_firefox_profilers_own_reader_counts_the_same_samples_and_microseconds() {
    let place = place();
    exported(&place, &["firefox"], ".firefox.json.gz");
    let Some(reader) = Reader::of(&place.path().join(format!("{ID}.firefox.json.gz"))) else { return };
    let profile = reader.json(&["profile", "info"]);
    assert!(profile["name"].as_str().unwrap().starts_with(&format!("wireprof run {ID}")), "{profile}");
    let processes = profile["processes"].as_array().unwrap();
    for name in ["level 4: server", "level 16, replicate 1: server", "level 16, replicate 2: server"] {
        let process = processes.iter().find(|process| process["name"] == name).unwrap_or_else(|| panic!("{profile}"));
        // Twenty samples of each of two threads, of 1,003,909 ns; the reader counts CPU between samples, so not that of
        // a thread's first one.
        assert!((process["cpuMs"].as_f64().unwrap() - 2.0 * (20.078 - 1.003)).abs() < 1e-6, "{process}");
        for thread in process["threads"].as_array().unwrap() {
            reader.told(&["thread", "select", thread["threadHandle"].as_str().unwrap()]);
            assert_eq!(reader.json(&["thread", "info"])["sampleCount"], 20, "{thread}");
        }
    }
}

#[test]
fn inferno_draws_all_nanoseconds_of_folded_stacks() {
    let place = place();
    for (level, nanos) in CPU {
        let folded = exported(&place, &["folded"], &format!("-L{level}.folded"));
        let mut options = inferno::flamegraph::Options::default();
        options.count_name = "ns".into();
        let mut picture = Vec::new();
        inferno::flamegraph::from_reader(&mut options, &folded[..], &mut picture).unwrap();
        let whole = format!("all ({} ns, 100%)", with_commas(nanos));
        assert!(String::from_utf8(picture).unwrap().contains(&whole), "{whole}");
    }
}

/// `40,156,360`
fn with_commas(number: i64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
    parts.join(",")
}

/// `wireprof open` while it serves; it is ended with this value.
struct Opened {
    child: Child,
    url: String,
    /// What the URL leads the viewer to: `127.0.0.1:PORT`, and the path there.
    address: (String, String),
}

impl Opened {
    fn of(place: &crate::cli::Place, arguments: &[&str]) -> Opened {
        let mut command = place.command(&[&["open", "latest"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        if arguments.contains(&"--json") {
            url = schema::answer(&url)["served"][0]["url"].as_str().unwrap().to_string();
        }
        let address = Self::read_by_the_viewer(url.trim_end());
        Opened { child, url: url.trim_end().into(), address }
    }

    /// Host and path of what a URL leads the viewer to; the report is itself the page.
    fn read_by_the_viewer(url: &str) -> (String, String) {
        let packed = if url.starts_with("http://127.") { url } else { url.rsplit(['/', '=']).next().unwrap() };
        let address = percent_encoding::percent_decode_str(packed).decode_utf8().unwrap().into_owned();
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        (host.into(), format!("/{path}"))
    }

    /// Head and body of an answer.
    fn asked(&self, method: &str, path: &str, origin: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address.0).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn open_serves_the_exported_profile_to_the_viewers_page_alone_until_it_is_interrupted() {
    let place = place();
    let firefox = "https://profiler.firefox.com";
    let mut opened = Opened::of(&place, &["--level", "4", "--viewer", "firefox"]);
    assert!(opened.url.starts_with(&format!("{firefox}/from-url/http%3A%2F%2F127")), "{}", opened.url);
    assert!(opened.address.0.starts_with("127.0.0.1:"));
    let (path, secret) = (opened.address.1.clone(), opened.address.1.split('/').nth(1).unwrap().len());
    assert_eq!(secret, 32, "128 bits: {path}");
    let (head, body) = opened.asked("GET", &path, firefox);
    assert!(head.starts_with("http/1.1 200") && head.contains(&format!("access-control-allow-origin: {firefox}")));
    assert_eq!(body, exported(&place, &["firefox", "--level", "4"], "-L4.firefox.json.gz"));
    for (path, origin, status) in
        [(path.as_str(), "https://example.org", "403"), ("/", firefox, "404"), ("/profile.json.gz", firefox, "404")]
    {
        let (head, body) = opened.asked("GET", path, origin);
        assert!(head.starts_with(&format!("http/1.1 {status}")) && body.is_empty(), "{path} {origin}: {head}");
        assert!(!head.contains("access-control"), "{head}");
    }
    // SAFETY: the child has not been waited for, so its id is still its own.
    unsafe { libc::kill(opened.child.id() as i32, libc::SIGINT) };
    assert_eq!(opened.child.wait().unwrap().code(), Some(0));
}

#[test]
fn open_serves_the_report_and_the_profile_under_paths_of_their_own() {
    let place = place();
    let mut child = place.command(&["open"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let [report, profile] = [lines.next().unwrap(), lines.next().unwrap()];
    let opened = Opened { child, address: Opened::read_by_the_viewer(&report), url: report };
    let (host, path) = Opened::read_by_the_viewer(&profile);
    assert!(profile.starts_with("https://profiler.firefox.com/from-url/"), "{profile}");
    assert_eq!(host, opened.address.0, "one port");
    let secret = |path: &str| path.split('/').nth(1).unwrap().to_string();
    assert_ne!(secret(&path), secret(&opened.address.1), "who knows the one does not know the other");
    assert_eq!(secret(&opened.address.1).len(), 32, "128 bits");
    let firefox = "https://profiler.firefox.com";
    assert_eq!(opened.asked("GET", &path, firefox).1, exported(&place, &["firefox"], ".firefox.json.gz"));
    let (head, body) = opened.asked("GET", &opened.address.1, firefox);
    assert!(head.starts_with("http/1.1 403") && body.is_empty(), "no other page reads the report: {head}");
    assert!(
        opened.asked("GET", &format!("/{}/profile.json.gz", secret(&opened.address.1)), firefox).0.contains(" 404")
    );
    place.done(&["report", "-o", "page.html"]);
    let written = std::fs::read_to_string(place.path().join("page.html")).unwrap();
    let Some(browser) = Browser::start() else { return };
    browser.go(&opened.url, 1300, 900);
    let title = written.split("<h1 id=\"answer-title\">").nth(1).unwrap().split("</h1>").next().unwrap();
    assert_eq!(browser.run("return document.querySelector('#answer-title').innerHTML"), title);
    assert_eq!(browser.run("return document.contentType"), "text/html");
    assert_eq!(browser.run("return performance.getEntriesByType('resource').length"), 0);
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn open_of_a_run_without_a_profile_serves_the_report_alone() {
    let mut run = crate::build::run(vec![crate::build::window(4, 1, 5, 1_000, None)]);
    run.manifest.order = run.windows.iter().map(wireprof::run::Window::id).collect();
    let place = crate::cli::Place::holding(run);
    let opened = Opened::of(&place, &["--viewer", "report", "--json"]);
    assert!(opened.url.ends_with("/report.html"), "{}", opened.url);
    // A browser that opens a page names no origin.
    let (head, body) = opened.asked("GET", &opened.address.1, "http://other.example");
    assert!(head.starts_with("http/1.1 403") && body.is_empty(), "{head}");
}

#[test]
fn open_leads_speedscope_to_its_own_format() {
    let place = place();
    let opened = Opened::of(&place, &["--viewer", "speedscope", "--json"]);
    assert!(opened.url.starts_with("https://www.speedscope.app/#profileURL=http%3A%2F%2F127"), "{}", opened.url);
    let (head, body) = opened.asked("GET", &opened.address.1, "https://www.speedscope.app");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, exported(&place, &["speedscope"], ".speedscope.json"));
    let (head, _) = opened.asked("GET", &opened.address.1, "https://profiler.firefox.com");
    assert!(head.starts_with("http/1.1 403"), "{head}");
}

#[test]
fn open_of_what_is_not_there_is_a_usage_error() {
    let place = place();
    for (arguments, message) in [
        (&["open", "latest", "--level", "5"][..], "has no level 5"),
        (&["open", "nosuch"], "no run `nosuch`"),
        (&["open", "latest", "--viewer", "perfetto"], "invalid value 'perfetto'"),
    ] {
        let (code, error) = place.failed(arguments);
        assert!(code == 2 && error.contains(message), "{error}");
    }
}
