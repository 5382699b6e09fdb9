//! Profiles sent to receivers of this test's own, which take what they were sent apart by the published protos: totals
//! are the run's own, what was not taken is told, and no token is shown.

use crate::cli::Place;
use crate::export_run::{CPU, ID, OFF_CPU, place};
use crate::schema;
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use prost_otlp::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use wireprof::http::Credentials;
use wireprof::push::{Bounds, Refusal, Sender};
use wireprof::run::pprof::decode;

/// push/v1/push.proto and types/v1/types.proto of Pyroscope's API, as a receiver reads them.
mod pushed {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PushRequest {
        #[prost(message, repeated, tag = "1")]
        pub series: Vec<RawProfileSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RawProfileSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<LabelPair>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<RawSample>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RawSample {
        #[prost(bytes = "vec", tag = "1")]
        pub raw_profile: Vec<u8>,
        #[prost(string, tag = "2")]
        pub id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LabelPair {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
}

/// A request as it came.
struct Request {
    /// First line and headers, in lower case.
    head: String,
    body: Vec<u8>,
}

/// How a request is answered.
#[derive(Clone)]
enum Answer {
    With(&'static str, Vec<u8>),
    Never,
}

fn ok() -> Answer {
    Answer::With("200 OK", Vec::new())
}

/// Answers each request with the next of these, the last one again and again.
fn receiver(answers: Vec<Answer>) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter().peekable();
        let mut last = None;
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let Some(request) = read(&stream) else { continue };
            if tell.send(request).is_err() {
                return;
            }
            last = answers.next().or(last);
            match last.clone().unwrap() {
                Answer::With(status, body) => answer(&stream, status, &body),
                Answer::Never => open.push(stream),
            }
        }
    });
    (url, told)
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut from = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (from.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

fn answer(mut stream: &TcpStream, status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Sends the run, and gives what came.
fn sent(place: &Place, arguments: &[&str], api: &str) -> Vec<Request> {
    let (url, told) = receiver(vec![ok()]);
    place.done(&[&["push", "latest", "--to", &format!("{api}={url}")], arguments].concat());
    told.try_iter().collect()
}

#[test]
fn pyroscope_gets_a_dated_profile_a_window_whose_totals_are_the_runs() {
    use prost::Message as _;
    let requests = sent(&place(), &["--label", "team=storage"], "pyroscope");
    let (mut totals, mut ids) = (BTreeMap::new(), BTreeSet::new());
    for request in &requests {
        assert!(request.head.starts_with("post /push.v1.pusherservice/push http/1.1\r\n"), "{}", request.head);
        assert!(request.head.contains("content-type: application/proto\r\n"), "{}", request.head);
        let push = pushed::PushRequest::decode(&*request.body).unwrap();
        let [series] = &push.series[..] else { panic!("{} series", push.series.len()) };
        let labels: BTreeMap<&str, &str> =
            series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        assert!(series.labels.is_sorted_by_key(|label| &label.name));
        assert_eq!((labels["__name__"], labels["run"], labels["team"]), ("process_cpu", ID, "storage"));
        let [sample] = &series.samples[..] else { panic!("{} samples", series.samples.len()) };
        assert!(ids.insert(sample.id.clone()), "{} twice", sample.id);
        let profile = decode(&sample.raw_profile).unwrap();
        *totals.entry(labels["level"].parse::<usize>().unwrap()).or_insert(0) += profile.total(1);
        let raw = raw(&sample.raw_profile);
        assert_eq!(raw.duration_nanos, 5_000_000_000);
        assert!(raw.time_nanos > 1_500_000_000_000_000_000, "{}", raw.time_nanos);
    }
    assert_eq!(requests.len(), 3);
    assert_eq!(totals.into_iter().collect::<Vec<_>>(), CPU);
}

fn raw(packed: &[u8]) -> pprof::protos::Profile {
    use prost::Message as _;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    pprof::protos::Profile::decode(&*plain).unwrap()
}

#[test]
fn the_answer_for_programs_is_as_the_schema_says() {
    let (url, _told) = receiver(vec![ok()]);
    let answer = schema::answer(&place().done(&["push", "latest", "--to", &format!("otlp={url}"), "--json"]));
    assert_eq!(answer["verb"], "push");
    let samples = |row: &&serde_json::Value| row["measure"] == "samples";
    assert_eq!(answer["rows"].as_array().unwrap().iter().filter(samples).count(), 3, "{answer:#}");
}

#[test]
fn otlp_gets_the_same_totals_stacks_and_labels() {
    let requests = sent(&place(), &["--what", "cpu", "--what", "off-cpu"], "otlp");
    let mut totals: BTreeMap<(String, String), i64> = BTreeMap::new();
    for request in &requests {
        assert!(request.head.starts_with("post /v1development/profiles http/1.1\r\n"), "{}", request.head);
        let export = ExportProfilesServiceRequest::decode(&*request.body).unwrap();
        let dictionary = export.dictionary.unwrap();
        let string = |at: i32| dictionary.string_table[at as usize].clone();
        let [of_resource] = &export.resource_profiles[..] else { panic!("one resource") };
        let attribute = |key: &str| {
            let all = &of_resource.resource.as_ref().unwrap().attributes;
            format!("{:?}", all.iter().find(|found| found.key == key).unwrap_or_else(|| panic!("{key}")).value)
        };
        assert!(attribute("service.name").contains("String"), "{}", attribute("service.name"));
        let profile = &of_resource.scope_profiles[0].profiles[0];
        let kind = profile.sample_type.as_ref().unwrap();
        assert_eq!(string(kind.unit_strindex), "nanoseconds");
        for sample in &profile.samples {
            let level = attribute("wireprof.level");
            *totals.entry((string(kind.type_strindex), level)).or_default() += sample.values[0];
            let stack = &dictionary.stack_table[sample.stack_index as usize];
            let outermost = &dictionary.location_table[*stack.location_indices.last().unwrap() as usize];
            let function = &dictionary.function_table[outermost.lines.last().unwrap().function_index as usize];
            assert_eq!(string(function.name_strindex), "main");
            assert!(sample.timestamps_unix_nano.iter().all(|at| *at >= profile.time_unix_nano));
        }
    }
    // Three windows, each with CPU, blocked and runnable time.
    assert_eq!(requests.len(), 9);
    let of = |kind: &str| totals.iter().filter(|((found, _), _)| found == kind).map(|(_, total)| total).sum::<i64>();
    assert_eq!(of("cpu"), CPU.iter().map(|(_, nanos)| nanos).sum::<i64>());
    assert_eq!(of("blocked"), 3 * OFF_CPU[0] as i64);
    assert_eq!(of("runnable"), 3 * OFF_CPU[1] as i64);
}

#[test]
fn a_busy_receiver_is_asked_again_and_nothing_is_lost() {
    let busy = Answer::With("429 Too Many Requests\r\nretry-after: 0", Vec::new());
    let failing = Answer::With("503 Service Unavailable\r\nretry-after: 0", b"later".to_vec());
    let (url, told) = receiver(vec![busy, failing, ok()]);
    let text = place().done(&["push", "latest", "--to", &format!("pyroscope={url}")]);
    let bodies: Vec<Vec<u8>> = told.try_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 5, "three profiles, the first of which was sent three times");
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    assert!(text.contains("40"), "{text}");
}

#[test]
fn one_that_stays_busy_is_given_up_after_five_attempts() {
    let (url, told) =
        receiver(vec![ok(), Answer::With("500 Internal Server Error\r\nretry-after: 0", b"\x1b[31mno space".to_vec())]);
    let (code, error) = place().failed(&["push", "latest", "--to", &format!("pyroscope={url}")]);
    assert_eq!(told.try_iter().count(), 6);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("answers 500 after 5 attempts ([31mno space)"), "{error}");
    assert!(error.contains("level 16, replicate 1, CPU: 1 of 3 profiles were taken by it"), "{error}");
}

#[test]
fn a_wrong_token_and_what_the_receiver_repeats_of_it_are_never_shown() {
    const CANARY: &str = "canary-5f1c";
    for (status, remedy) in [("401 Unauthorized", "WIREPROF_PROFILER_TOKEN"), ("400 Bad Request", "answers 400")] {
        let (url, told) = receiver(vec![Answer::With(status, format!("Bearer {CANARY} is wrong").into_bytes())]);
        let place = place();
        let output = place
            .command(&["push", "latest", "--to", &format!("otlp={url}")])
            .env("WIREPROF_PROFILER_TOKEN", CANARY)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(remedy), "{said}");
        assert!(!said.contains(CANARY), "{said}");
        let requests: Vec<Request> = told.try_iter().collect();
        assert_eq!(requests.len(), 1, "asked again");
        assert!(requests[0].head.contains(&format!("authorization: bearer {CANARY}")), "{}", requests[0].head);
    }
}

#[test]
fn a_redirection_is_not_followed_and_a_rejected_profile_is_told() {
    let (elsewhere, followed) = receiver(vec![ok()]);
    let location = format!("307 Temporary Redirect\r\nlocation: {elsewhere}/v1development/profiles");
    let (url, _told) = receiver(vec![Answer::With(location.leak(), Vec::new())]);
    let (code, error) = place().failed(&["push", "latest", "--to", &format!("otlp={url}")]);
    assert!(code == 1 && error.contains("answers 307"), "{error}");
    assert_eq!(followed.try_iter().count(), 0);

    let partial = ExportProfilesPartialSuccess { rejected_profiles: 1, error_message: "too old".into() };
    let rejected = ExportProfilesServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (url, _told) = receiver(vec![Answer::With("200 OK", rejected)]);
    let (_, error) = place().failed(&["push", "latest", "--to", &format!("otlp={url}")]);
    assert!(error.contains("rejected the profile (too old)"), "{error}");
}

#[tokio::test]
async fn one_that_never_answers_is_given_up_within_the_bounds() {
    let (url, told) = receiver(vec![Answer::Never]);
    let short = Duration::from_millis(100);
    let bounds = Bounds { attempt: short, attempts: 3, wait: Duration::from_millis(10), longest_wait: short };
    let sender = Sender::new(&format!("otlp={url}").parse().unwrap(), Credentials::default(), bounds).unwrap();
    let mut waits = Vec::new();
    let refusal = sender.send(b"x", &mut |_, wait| waits.push(wait)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Silent { attempts: 3, .. }), "{refusal}");
    assert_eq!(waits, [10, 20].map(Duration::from_millis));
    assert_eq!(told.try_iter().count(), 3);
}

#[test]
fn a_profile_that_pyroscope_keeps_becomes_a_run_to_compare() {
    use prost::Message as _;
    let place = place();
    let stored = place.runs().join(ID).join("L0004-R1/profile.pb.gz");
    let kept = raw(&std::fs::read(stored).unwrap()).encode_to_vec();
    let (url, told) = receiver(vec![Answer::With("200 OK", kept), Answer::With("200 OK", Vec::new())]);
    let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"server\"}";
    let from = format!("pyroscope={url}");
    let time = ["--from", "2026-11-22T09:00:00Z", "--until", "2026-11-22T09:00:30Z"];
    let arguments = [&["import", &from, "--query", query, "--qps", "100", "--name", "production"], &time[..]].concat();
    place.run(&arguments);
    let request = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(request.head.starts_with("post /querier.v1.querierservice/selectmergeprofile "), "{}", request.head);
    let hot = place.done(&["hot", "production", "--by", "self"]);
    // 40 samples of 1,003,909 ns over the 3,000 queries of 30 s.
    assert!(hot.contains("13.39") && hot.contains("tcp_recvmsg"), "{hot}");
    let runs = place.done(&["explain", "production", "--section", "setup", "--width", "300"]);
    assert!(runs.contains("2026-11-22T09:00:00Z to 2026-11-22T09:00:30Z"), "{runs}");
    let (code, error) = place.failed(&arguments[..arguments.len() - 2]);
    assert!(code != 0 && error.contains("has no samples of"), "{error}");
}
