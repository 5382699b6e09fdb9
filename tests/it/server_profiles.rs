//! CPU profiles that servers take of themselves, over HTTP: from servers that answer well, badly, slowly and not at
//! all, and what is stored and shown of them.

use crate::build;
use crate::sweeps::Place;
use flate2::{Compression, write::GzEncoder};
use pprof::protos as proto;
use prost::Message;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wireprof::clock::{self, Span};
use wireprof::run::{Companion, Missing, Store, Window};
use wireprof::sweep::{answers, profilers};

/// Answers the first request with these bytes after so long; `None`: never. Its address.
async fn serve(answer: Option<Vec<u8>>, after: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /p?seconds=1 HTTP/1.1\r\n"), "{:?}", &request[..read]);
        tokio::time::sleep(after).await;
        match answer {
            Some(answer) => stream.write_all(&answer).await.unwrap(),
            None => std::future::pending().await,
        }
    });
    address
}

fn http(status: &str, body: &[u8]) -> Option<Vec<u8>> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nlocation: /elsewhere\r\n\r\n", body.len());
    Some([head.as_bytes(), body].concat())
}

/// 30 samples of 10 ms, as Go writes its profiles, of one function; its last values are of this kind.
fn profile(kind: &str, unit: &str) -> Vec<u8> {
    let strings = ["", "samples", "count", kind, unit, "main.priceOrder", "main.main"].map(String::from);
    let function = |id, name| proto::Function { id, name, ..Default::default() };
    let line = |function_id| proto::Line { function_id, line: 7 };
    let location = |id| proto::Location { id, line: vec![line(id)], ..Default::default() };
    let whole = proto::Profile {
        string_table: strings.to_vec(),
        sample_type: vec![proto::ValueType { ty: 1, unit: 2 }, proto::ValueType { ty: 3, unit: 4 }],
        function: vec![function(1, 5), function(2, 6)],
        location: vec![location(1), location(2)],
        sample: vec![proto::Sample { location_id: vec![1, 2], value: vec![30, 300_000_000], ..Default::default() }],
        duration_nanos: 1_010_000_000,
        ..Default::default()
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&whole.encode_to_vec()).unwrap();
    gzip.finish().unwrap()
}

/// What comes of asking this server in a window of a second that begins now.
async fn asked(address: &str) -> Result<Companion, Missing> {
    let also = [format!("http://me:canary@{address}/p")];
    let profilers = profilers(&also, Duration::from_secs(1)).unwrap();
    let window = Span::new(clock::now(), clock::now() + 1_000_000_000);
    let asking = profilers.iter().map(|profiler| profiler.ask()).collect();
    let mut missing = Vec::new();
    let found = answers(asking, window, &mut missing).await.pop();
    found.ok_or_else(|| missing.pop().expect("a reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_own_profile_is_a_companion_with_its_seconds_and_no_secret() {
    let address = serve(http("200 OK", &profile("cpu", "nanoseconds")), Duration::from_millis(50)).await;
    let companion = asked(&address).await.unwrap();
    assert_eq!(companion.process, address);
    let server = companion.server.clone().unwrap();
    assert_eq!((server.asked_seconds, server.profiled_seconds), (1, Some(1.01)));
    assert_eq!(server.url, format!("http://me:***@{address}/p?seconds=1"));
    let seconds = server.answered.seconds();
    assert!(seconds > 0.05 && (server.overlap_seconds - seconds).abs() < 0.01, "{server:?}");
    assert_eq!(companion.sampling.covers.unwrap().nanos(), 1_010_000_000);
    assert_eq!((companion.sampling.samples, companion.sampling.symbolized), (30, Some(1.0)));
    assert_shown(companion);
}

/// It is stored, read again and shown by the verbs.
fn assert_shown(companion: Companion) {
    let (place, name) = (Place::new(), companion.process.clone());
    let mut run = build::run(vec![build::window(4, 1, 5, 1_000, None)]);
    run.windows[0].companions = vec![companion.clone()];
    run.manifest.order = run.windows.iter().map(Window::id).collect();
    let mut writer = Store::new(place.runs()).create(run.manifest).unwrap();
    writer.write_window(&run.windows[0], None).unwrap();
    writer.finish("complete").unwrap();
    let read = Store::new(place.runs()).load("latest").unwrap();
    assert_eq!(read.windows[0].companions[0].server, companion.server);
    let hot = place.run(&["hot", "--process", &name]);
    hot.assert(0, &[]);
    let words = hot.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in ["main.priceOrder", "is the CPU profile that the server took of itself (http://me:***@"] {
        assert!(words.contains(told), "no {told:?} in {}", hot.out);
    }
    // 300 ms over 1.01 s, in which there were 1,000 queries in 5 s.
    assert!(hot.out.contains("1485") || hot.out.contains("1,485"), "{}", hot.out);
    let explained = place.run(&["explain", "--section", "setup"]);
    let words = explained.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("by its own sampler at its own rate"), "{}", explained.out);
    place.run(&["flamegraph", "--process", &name]).assert(0, &[]);
    let stored = std::fs::read_to_string(read_first(&place.runs(), "beside.json")).unwrap();
    assert!(!stored.contains("canary") && stored.contains("\"overlap_seconds\""), "{stored}");
}

/// The file of this name in the first window of the only run.
fn read_first(runs: &std::path::Path, name: &str) -> std::path::PathBuf {
    let run = std::fs::read_dir(runs).unwrap().find_map(|entry| entry.ok().filter(|e| e.path().is_dir())).unwrap();
    let windows = std::fs::read_dir(run.path()).unwrap().filter_map(Result::ok);
    windows.map(|window| window.path().join(name)).find(|path| path.exists()).expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_or_answers_something_else_is_missing_with_reason_and_remedy() {
    let good = profile("cpu", "nanoseconds");
    let cases: Vec<(Option<Vec<u8>>, &str, &str)> = vec![
        (http("404 Not Found", b"no canary here"), "it answers 404 (no *** here)", "/debug/pprof/profile"),
        (
            http("500 Oops", b"cpu profiling already in use"),
            "500 (cpu profiling already in use)",
            "one CPU profile at a",
        ),
        (http("401 Unauthorized", b""), "it answers 401", "USER:PASSWORD"),
        (http("302 Found", b""), "it answers 302", "no redirection is followed"),
        (http("200 OK", b"<html>hello</html>"), "it answers with no CPU profile: ", "in pprof's format"),
        (http("200 OK", &good[..good.len() - 20]), "its gzip stream is damaged or cut short", "in pprof's format"),
        (http("200 OK", b""), "it answers with no CPU profile: ", "in pprof's format"),
        (
            http("200 OK", &profile("inuse_space", "bytes")),
            "it is of inuse_space in bytes, not of CPU",
            "pprof's format",
        ),
        (Some(b"SSH-2.0-x\r\n".to_vec()), "it did not answer: ", "the address is right"),
    ];
    for (answer, why, remedy) in cases {
        let address = serve(answer, Duration::ZERO).await;
        let missing = asked(&address).await.expect_err(why);
        assert!(missing.why.starts_with(&format!("http://me:***@{address}/p?seconds=1: ")), "{}", missing.why);
        assert!(missing.why.contains(why) && missing.remedy.contains(remedy), "{missing:?}");
        assert!(!format!("{missing:?}").contains("canary"), "{missing:?}");
        assert_eq!(missing.what.as_str(), "server's own profile");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let missing = asked(&closed).await.unwrap_err();
    assert!(missing.why.contains("it did not answer: Connection refused"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_waited_for_no_longer_than_the_bound() {
    let (silent, began) = (serve(None, Duration::ZERO).await, Instant::now());
    let missing = asked(&silent).await.unwrap_err();
    let waited = began.elapsed().as_secs_f64();
    // A second of profile and five for the answer.
    assert!((5.9..12.0).contains(&waited), "{waited} s");
    assert!(missing.why.ends_with("it had not answered 5 s after 1 s of profile were asked for"), "{missing:?}");
}
