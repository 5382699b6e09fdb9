//! `diagnose` on servers that are unlike the testbed: plain C with a thread or a process for each connection, or one
//! event loop, each with one bottleneck of known kind and place. What others do on a machine that is shared may be
//! blamed before it, and then the order of the rest counts.

mod generated;
mod hands;
mod hands_of_poolers;
mod hands_of_runtimes;
mod looks;
mod server_profile;
mod servers;

use crate::sweeps::Place;
use servers::Server;
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Finding, diagnose};
use wireprof::preset::{Cause, Preset};

/// Sweeps a server of this kind that does this for each query, at one client and at `level`.
fn swept(kind: &str, work: &str, level: usize) -> Option<Diagnosis> {
    let server = Server::start(servers::c()?, &[kind, work]);
    let (place, levels) = (Place::new(), format!("1,{level}"));
    let preset = servers::with_children(&place);
    let fixed = ["--preset", &preset, "--window", "1500ms", "--no-follow", "--query", "select 1"];
    let answer = place.sweep(&[&["--url", &server.url(), "--levels", &levels], &fixed[..]].concat());
    assert!([0, 1].contains(&answer.code), "{}\n{}", answer.out, answer.err);
    diagnose(&place.the_run(), &Preset::built_in("generic").unwrap(), level)
}

/// The first finding that is about the server.
fn first(diagnosis: &Diagnosis) -> &Finding {
    let about = |finding: &&Finding| finding.cause != Cause::OtherProcesses;
    diagnosis.verdicts.iter().find(about).expect("something is always found")
}

/// The first finding is this cause, confidently, at this function.
fn assert_first(kind: &str, work: &str, level: usize, cause: Cause, function: &str) {
    let Some(diagnosis) = swept(kind, work, level) else { return };
    let found = first(&diagnosis);
    let named = found.named.first().map_or("", |named| &named.name);
    let right = (found.cause, found.confidence, named) == (cause, Confidence::Confident, function);
    assert!(right, "{kind} {work}: {:#?}", diagnosis.verdicts);
    let share = found.effect.map_or(0.0, |effect| effect.share);
    // Others may take most of the machine.
    assert!(share > 0.1, "{kind} {work}: it is what limits, not {share:.2} of it: {:#?}", diagnosis.verdicts);
}

/// Nothing that the server does not do is found.
fn assert_nothing_waited_for(kind: &str) {
    let Some(diagnosis) = swept(kind, "none", 16) else { return };
    let waits = [Cause::Lock, Cause::LightweightLock, Cause::RowLock, Cause::Flush, Cause::Disk, Cause::Sleep];
    let wrong = |finding: &&Finding| waits.contains(&finding.cause) || named(finding);
    // Of what it has every query needs all: no function of it is a cause.
    fn named(finding: &Finding) -> bool {
        let functions = ["price_order", "book_order", "fetch_rates", "start_thread", "clock_gettime"];
        finding.named.iter().any(|named| functions.contains(&named.name.as_str()))
    }
    let wrong: Vec<_> = diagnosis.verdicts.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{kind}: {wrong:#?}");
}

#[test]
fn a_thread_for_each_connection() {
    assert_first("threads", "cpu", 4, Cause::CpuFunction, "price_order");
    assert_first("threads", "lock", 16, Cause::Lock, "book_order");
    assert_first("threads", "sleep", 16, Cause::Sleep, "fetch_rates");
    assert_nothing_waited_for("threads");
}

#[test]
fn a_process_for_each_connection() {
    assert_first("processes", "cpu", 4, Cause::CpuFunction, "price_order");
    assert_first("processes", "lock", 16, Cause::Lock, "book_order");
    assert_first("processes", "sleep", 16, Cause::Sleep, "fetch_rates");
    assert_nothing_waited_for("processes");
}

#[test]
fn one_event_loop_for_all() {
    assert_first("loop", "sleep", 16, Cause::Sleep, "fetch_rates");
    assert_nothing_waited_for("loop");
    let Some(diagnosis) = swept("loop", "cpu", 16) else { return };
    let found = first(&diagnosis);
    // The only thread is what the function is too much for.
    assert!([Cause::CpuFunction, Cause::SaturatedThread].contains(&found.cause), "{:#?}", diagnosis.verdicts);
    assert_eq!(found.named.first().map(|named| named.name.as_str()), Some("price_order"));
}
