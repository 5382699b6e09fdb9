//! Presets: the compiled-in ones are valid, a user's file refines them, and mistakes are named with their line.

use crate::{build, recordings};
use std::collections::BTreeSet;
use std::path::Path;
use wireprof::analyze::cost::quantities::quantities;
use wireprof::analyze::judge::checks::check_window;
use wireprof::analyze::time::nodes::nodes;
use wireprof::clock::Span;
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::preset::{BUILT_IN, Connection, Preset, PresetError, Step, set_parameter};
use wireprof::profile::{Frame, Space, marker};
use wireprof::run::Window;

#[test]
fn every_compiled_in_preset_is_valid_and_describes_itself() {
    for (name, _) in BUILT_IN {
        let preset = Preset::built_in(name).unwrap();
        assert_eq!(preset.name, name);
        assert!(!preset.description.is_empty(), "{name}");
        assert!(preset.workload.query.is_some(), "{name}");
    }
}

#[test]
fn the_testbed_inherits_what_it_does_not_say_itself() {
    let testbed = Preset::built_in("testbed").unwrap();
    let materialize = Preset::built_in("materialize").unwrap();
    assert_eq!(testbed.process.companions, ["postgres"]);
    assert_eq!(testbed.process.children, Some(false));
    assert_eq!(testbed.connect.internal, materialize.connect.internal);
    assert_eq!(testbed.quantity.len(), materialize.quantity.len() + 3);
    assert_eq!(testbed.checks.churn.len(), 4);
    let names = |p: &Preset| p.focus.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&testbed), [names(&materialize), vec!["plant".to_string()]].concat());
}

#[test]
fn the_set_up_of_the_benchmark_goes_to_the_internal_port_and_can_be_run_twice() {
    let setup = Preset::built_in("materialize").unwrap().setup;
    let parameters: Vec<String> = setup
        .iter()
        .filter_map(|step| match step {
            Step::Parameter { on: Connection::Internal, parameter, value } => Some(set_parameter(parameter, value)),
            _ => None,
        })
        .collect();
    assert_eq!(
        parameters,
        [
            "ALTER SYSTEM SET enable_frontend_peek_sequencing = true",
            "ALTER SYSTEM SET statement_logging_max_sample_rate = 0"
        ]
    );
    for step in &setup {
        if let Step::Statement { on, statement, unless, only_with_previous, for_own_query, .. } = step {
            assert_eq!(*on, Connection::Internal);
            assert!(unless.is_some() || *only_with_previous, "{statement} breaks when run twice");
            assert!(*for_own_query || *only_with_previous, "{statement} is not for every query");
        }
    }
}

/// Whether a preset's tables and pictures leave a function out.
fn folds(preset: &Preset, name: &str) -> bool {
    let frame = Frame { name: name.into(), space: Space::User, ..marker("") };
    preset.folding().matches(&frame)
}

#[test]
fn runtime_frames_are_those_that_run_functions_and_not_what_runs_in_them() {
    for preset in
        ["generic", "materialize", "testbed", "postgres", "cockroach"].map(|name| Preset::built_in(name).unwrap())
    {
        for name in [
            "tokio::runtime::scheduler::multi_thread::worker::run",
            "<tokio::runtime::scheduler::multi_thread::worker::Context>::run_task",
            "<tokio::runtime::task::harness::Harness<tracing::instrument::Instrumented<mz_pgwire::run>>>::poll",
            "tokio::runtime::task::harness::poll_future::<mz_pgwire::protocol::run, S>",
            "tokio::runtime::coop::_::{closure#0}",
            "core::ptr::drop_in_place::<tokio::runtime::task::Notified>",
            "<tokio::time::timeout::Timeout<mz_pgwire::protocol::run> as core::future::future::Future>::poll",
            "<core::future::poll_fn::PollFn<mz_pgwire::protocol::run> as core::future::future::Future>::poll",
            "<core::pin::Pin<alloc::boxed::Box<dyn core::future::future::Future<Output = ()>>> as \
                core::future::future::Future>::poll",
            "<alloc::boxed::Box<dyn core::ops::function::FnOnce<()>> as core::ops::function::FnOnce<()>>::call_once",
            "alloc::boxed::call_once::<(), dyn core::ops::function::FnOnce<()>, alloc::alloc::Global>",
            "std::panicking::catch_unwind::<(), core::panic::unwind_safe::AssertUnwindSafe<x>>",
            "std::panicking::do_call::<core::panic::unwind_safe::AssertUnwindSafe<x>, ()>",
            "<std::sys::thread::unix::Thread>::new::thread_start",
            "std::sys::backtrace::__rust_begin_short_backtrace::<a, b>",
            "<std::thread::local::LocalKey<tokio::runtime::context::Context>>::with::<x>",
            "<tracing::instrument::Instrumented<mz_pgwire::protocol::run> as core::future::future::Future>::poll",
            "<futures_util::future::future::map::Map<x, y> as core::future::future::Future>::poll",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "void std::__invoke_impl<void, void (*)()>(std::__invoke_other, void (*&&)())",
            "std::_Function_handler<void (), Server::start()::{lambda()#1}>::_M_invoke(std::_Any_data const&)",
            "std::thread::_State_impl<std::thread::_Invoker<std::tuple<void (*)()> > >::_M_run()",
            "std::__1::__function::__func<void (*)(), std::__1::allocator<void (*)()>, void ()>::operator()()",
            "std::function<void ()>::operator()() const",
            "execute_native_thread_routine",
            "runtime.goexit",
            "runtime.mcall",
            "start_thread",
            "__clone3",
            "__libc_start_main@@GLIBC_2.34",
            "_start",
            "do_syscall_64",
        ] {
            assert!(folds(&preset, name), "{}: {name} stays", preset.name);
        }
        for name in [
            "<mz_adapter::peek_client::PeekClient>::try_frontend_peek_cached::{closure#0}",
            "<mz_pgwire::protocol::StateMachine<tokio::runtime::Handle>>::query",
            "<mz_server_core::Instrumented<tokio::runtime::task::Task> as core::future::future::Future>::poll",
            "mz_pgwire::protocol::_::{async_fn#0}::<core::future::ready::Ready<()>>",
            "wireprof_testbed::plant::work::planted_peek_work",
            "tokio_postgres::connection::Connection<tokio_postgres::socket::Socket>::poll_read",
            "<tokio::sync::semaphore::Semaphore>::acquire::{closure#0}",
            "<tokio::net::tcp::stream::TcpStream as tokio::io::async_read::AsyncRead>::poll_read",
            "alloc::vec::Vec<u8>::extend",
            "<std::collections::hash::map::HashMap<k, v>>::insert",
            "std::net::tcp::TcpStream::write",
            "core::ptr::drop_in_place",
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "std::_Hashtable<int, int>::find(int const&)",
            "Server::start()::{lambda()#1}::operator()() const",
            "runtime.mallocgc",
            "runtime.gcBgMarkWorker",
            "runtime.mapassign_faststr",
            "github.com/cockroachdb/cockroach/pkg/sql/pgwire.(*conn).serveImpl",
            "main.main",
            "PostgresMain",
            "exec_simple_query",
            "ExecProcNode",
            "__x64_sys_sendto",
            "__memmove_avx_unaligned_erms",
            "malloc",
            "main_loop",
        ] {
            assert!(!folds(&preset, name), "{}: {name} is folded", preset.name);
        }
    }
}

#[test]
fn what_starts_a_program_is_the_presets_to_say() {
    let by = |preset: &str, name: &str| folds(&Preset::built_in(preset).unwrap(), name);
    assert!(!by("generic", "main") && !by("generic", "ServerLoop"));
    assert!(by("materialize", "main") && by("postgres", "main"));
    assert!(by("postgres", "PostmasterMain") && by("postgres", "postmaster_child_launch"));
    let own = Preset::parse("mine", "inherits = \"generic\"\nruntime = ['^my_loop$']").unwrap();
    assert!(folds(&own, "my_loop") && folds(&own, "start_thread"));
}

/// All names of a recording that begin as the program's own, of which none is folded but for calls of its closures.
#[test]
fn no_function_of_a_recorded_program_is_folded() {
    let testbed = recordings::testbed().join("c16/folded.txt.gz");
    let (own, folded) = own_and_folded(&testbed, &["wireprof::testbed::", "pgwire::", "<wireprof::testbed::"]);
    assert!(own > 10 && folded.is_empty(), "{own}, {folded:?}");
    let Some(recorded) = recordings::environmentd() else { return };
    let (own, folded) =
        own_and_folded(&recorded.join("bench/c64/folded.txt.gz"), &["mz_", "<mz_", "<&mz_", "<&mut mz_"]);
    let calls = |name: &String| name.contains(" as core::ops::function::Fn");
    assert!(own > 500 && folded.iter().all(calls), "{own}, {folded:?}");
}

/// How many functions begin so, and which of them are folded.
fn own_and_folded(path: &Path, beginnings: &[&str]) -> (usize, Vec<String>) {
    let preset = Preset::built_in("testbed").unwrap();
    let text = recordings::text(path);
    let stacks = text.lines().filter_map(|line| line.rsplit_once(' '));
    let names: BTreeSet<&str> = stacks.flat_map(|(stack, _)| stack.split(';')).collect();
    let own = |name: &&&str| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let own: Vec<&&str> = names.iter().filter(own).collect();
    let folded = own.iter().filter(|name| folds(&preset, name)).map(|name| name.to_string());
    (own.len(), folded.collect())
}

#[test]
fn a_users_file_refines_a_compiled_in_preset_even_under_its_name() {
    let text = r#"
        inherits = "materialize"
        [connect]
        url = "postgres://me@localhost:1/db"
        [[quantity]]
        name = "peek"
        unit = "ms"
        per = "call"
        expression = 'mean(mz_frontend_peek_seconds{*="mine"}) * 1000'
        [[quantity]]
        name = "mine"
        unit = "count"
        per = "window"
        expression = "delta(x)"
    "#;
    let preset = Preset::parse("materialize", text).unwrap();
    let parent = Preset::built_in("materialize").unwrap();
    assert_eq!(preset.connect.url.as_deref(), Some("postgres://me@localhost:1/db"));
    assert_eq!(preset.connect.metrics, parent.connect.metrics);
    assert_eq!(preset.quantity.len(), parent.quantity.len() + 1);
    assert_eq!(preset.quantity[0].unit.to_string(), "ms");
    assert_eq!(preset.quantity.last().unwrap().name, "mine");
}

#[test]
fn a_mistake_in_a_file_is_named_with_its_line() {
    let why = |text: &str| match Preset::parse("mine", text) {
        Err(PresetError::Invalid { name, why }) if name == "mine" => why,
        other => panic!("{other:?}"),
    };
    let unknown = why("description = \"x\"\n\n[conect]\nurl = \"y\"\n");
    assert!(unknown.contains("line 3") && unknown.contains("conect"), "{unknown}");
    let quantity = |expression: &str| {
        why(&format!("\n[[quantity]]\nname = \"q\"\nunit = \"u\"\nper = \"query\"\nexpression = '{expression}'\n"))
    };
    let expression = quantity("mean(a) / quieries");
    assert!(
        expression.contains("line 6") && expression.contains("at byte 10: `quieries` is not known"),
        "{expression}"
    );
    let pattern = why("runtime = [\n'ok',\n'(']\n");
    assert!(pattern.contains("line") && pattern.contains("`(` is no regular expression"), "{pattern}");
    let per = why("[[metric]]\nselector = \"a\"\nunit = \"s\"\nper = \"querry\"\n");
    assert!(per.contains("line 4") && per.contains("querry"), "{per}");
    let selector = why("[[metric]]\nselector = \"a{b}\"\nunit = \"s\"\nper = \"query\"\n");
    assert!(selector.contains("line 2") && selector.contains("at byte 2"), "{selector}");
}

#[test]
fn a_unit_or_a_name_that_is_wrong_is_said_with_its_line_and_remedy() {
    let why = |text: &str| match Preset::parse("mine", text) {
        Err(PresetError::Invalid { name, why }) if name == "mine" => why,
        other => panic!("{other:?}"),
    };
    let quantity = "[[quantity]]\nname = \"ops\"\nunit = \"ops\"\nper = \"batch\"\nexpression = \"delta(a)\"\n";
    let shown = why(&format!("{quantity}show = \"fortnights\"\n"));
    assert!(
        shown.contains("line 6") && shown.contains("`fortnights` is no unit of time; write s, ms, us or ns"),
        "{shown}"
    );
    let shown = why(&format!("{quantity}show = \"us\"\n"));
    assert!(shown.contains("line 1") && shown.contains("quantity `ops`: its unit `ops` is none of time"), "{shown}");
    let node = |rest: &str| why(&format!("{quantity}[[node]]\nname = \"n\"\ninside = \"server\"\n{rest}\n"));
    let unit = node("per = \"call\"\nexpression = \"mean(a)\"\nunit = \"sec\"");
    assert!(unit.contains("line 11") && unit.contains("`sec` is no unit of time"), "{unit}");
    assert_eq!(node("quantity = \"op\""), "line 7: node `n`: there is no quantity `op`; no quantity is a time");
    let count = node("quantity = \"ops\"");
    assert_eq!(count, "line 7: node `n`: quantity `ops` is in ops, which is no time; no quantity is a time");
    assert!(node("quantity = \"ops\"\nper = \"call\"").ends_with("says its `per` and `unit`; leave them out here"));
    assert!(
        node("per = \"call\"").ends_with("exactly one of `quantity`, `expression` and `statements` says what it takes")
    );
    assert!(node("expression = \"mean(a)\"").ends_with("`per` is missing: query, call, batch or window"));
    let check = |rest: &str| why(&format!("{quantity}[[checks.churn]]\nname = \"c\"\nat_most = \"1\"\n{rest}\n"));
    assert_eq!(check("quantity = \"op\""), "line 7: check `c`: there is no quantity `op`");
    assert!(check("value = \"1\"").ends_with("`unit` is missing"));
    let behind = "[diagnosis.behind]\nname = \"db\"\ncall = [\"ops\"]\nwait = []\ncalls = \"ops\"\n";
    assert!(
        why(&format!("{quantity}{behind}")).contains("quantity `ops`: [diagnosis] needs a time, and its unit is `ops`")
    );
}

#[test]
fn what_a_node_names_is_the_quantity_of_its_own_file() {
    let mine = "inherits = \"materialize\"\n[[quantity]]\nname = \"peek\"\nunit = \"ms\"\nper = \"query\"\n\
                expression = \"mean(mine)\"\n";
    let of = |preset: &Preset, name: &str| preset.node.iter().find(|node| node.name == name).cloned().unwrap();
    let parent = Preset::built_in("materialize").unwrap();
    let refined = Preset::parse("mine", mine).unwrap();
    assert_eq!(of(&refined, "peek"), of(&parent, "peek"), "a parent's node stays as it was");
    let named = format!("{mine}[[node]]\nname = \"peek\"\ninside = \"message\"\nquantity = \"peek\"\n");
    let node = of(&Preset::parse("mine", &named).unwrap(), "peek");
    assert_eq!(node.known.metrics().map(|timed| timed.expression.to_string()).as_deref(), Some("mean(mine)"));
    assert_eq!(node.per.to_string(), "query");
}

#[test]
fn metrics_are_wanted_where_an_expression_has_them_unless_it_is_optional() {
    let wanted = |preset: &Preset| preset.wanted().iter().map(ToString::to_string).collect::<Vec<String>>();
    let all = wanted(&Preset::built_in("materialize").unwrap());
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each once");
    for selector in ["mz_parse_seconds", "mz_append_table_duration_seconds", "mz_tokio_num_workers{runtime=\"main\"}"] {
        assert!(all.iter().any(|wanted| wanted == selector), "{selector}");
    }
    // A testbed without a plant lacks those metrics, and nothing is amiss.
    assert_eq!(wanted(&Preset::built_in("testbed").unwrap()), all);
}

/// A server of 1,000 queries in a second, with a change in every metric that the compiled-in presets name.
fn observed() -> Window {
    let histograms = [
        "mz_frontend_peek_seconds method=\"try_frontend_peek_cached\"",
        "mz_frontend_peek_read_ts_seconds a=\"\"",
        "mz_ts_oracle_batch_wait_seconds op=\"read_ts\"",
        "mz_ts_oracle_batch_inner_read_seconds op=\"read_ts\"",
        "mz_ts_oracle_postgres_read_ts_phase_seconds phase=\"get_connection\"",
        "mz_ts_oracle_postgres_read_ts_phase_seconds phase=\"prepare_cached\"",
        "mz_ts_oracle_postgres_read_ts_phase_seconds phase=\"query_one\"",
        "mz_append_table_duration_seconds a=\"\"",
        "mz_slow_message_handling message_kind=\"command-startup\"",
        "mz_slow_message_handling message_kind=\"command-terminate\"",
        "mz_pgwire_recv_scheduling_delay_ms message_type=\"query\"",
        "mz_pgwire_message_processing_seconds message_type=\"query\"",
        "mz_parse_seconds a=\"\"",
        "sql_service_latency a=\"\"",
        "sql_exec_latency a=\"\"",
    ];
    let values = [
        "counter mz_ts_oracle_batched_op_count op=\"read_ts\"",
        "counter mz_ts_oracle_batches_count op=\"read_ts\"",
        "counter mz_ts_oracle_started_count op=\"apply_write\"",
        "counter mz_tokio_worker_total_busy_duration runtime=\"main\"",
        "counter mz_tokio_worker_poll_count runtime=\"main\"",
        "counter mz_tokio_worker_steal_count runtime=\"main\"",
        "counter mz_tokio_budget_forced_yield_count runtime=\"main\"",
        "gauge mz_tokio_num_workers runtime=\"main\"",
        "counter mz_connection_status source=\"external\",status=\"success\"",
        "counter sql_query_count a=\"\"",
        "counter wireprof_plant_calls_total a=\"\"",
        "counter wireprof_plant_cpu_seconds_total a=\"\"",
        "counter wireprof_plant_wait_seconds_total a=\"\"",
    ];
    let scrape = |at: u64, share: u64| {
        let mut text = String::new();
        for (nth, metric) in (1u64..).zip(histograms) {
            let (name, labels) = metric.split_once(' ').unwrap();
            // Sums that no power of ten divides, so that every rounding shows.
            let (count, sum) = (share * (900 + 7 * nth), share as f64 * (0.1 + nth as f64 / 7.0));
            text +=
                &format!("# TYPE {name} histogram\n{name}_bucket{{{labels},le=\"0.0003\"}} {half}\n", half = count / 2);
            text += &format!(
                "{name}_bucket{{{labels},le=\"0.0007\"}} {count}\n{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n"
            );
            text += &format!("{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n");
        }
        for (nth, metric) in (1u64..).zip(values) {
            let (kind, rest) = metric.split_once(' ').unwrap();
            let (name, labels) = rest.split_once(' ').unwrap();
            text += &format!("# TYPE {name} {kind}\n{name}{{{labels}}} {}\n", share as f64 * nth as f64 / 3.0);
        }
        Scrape { span: Span::new(at, at), text }
    };
    let mut window = build::window(1, 1, 1, 1_000, None);
    (window.facts.span, window.load.span) = (Span::new(0, 1_000_000_000), Span::new(0, 1_000_000_000));
    window.metrics = Some(MetricsDelta::between(&scrape(0, 0), &scrape(1_000_000_000, 1)));
    window
}

#[test]
fn a_file_in_the_syntax_of_version_0_1_reads_with_the_same_meaning() {
    let window = observed();
    let run = build::run(vec![window.clone()]);
    for (name, text) in [
        ("materialize", include_str!("../fixtures/preset-0.1/materialize.toml")),
        ("testbed", include_str!("../fixtures/preset-0.1/testbed.toml")),
        ("cockroach", include_str!("../fixtures/preset-0.1/cockroach.toml")),
    ] {
        let (old, new) = (Preset::parse(name, text).unwrap(), Preset::built_in(name).unwrap());
        let figures = quantities(&new, &window);
        assert!(figures.len() >= 4 && figures.iter().all(|figure| figure.missing.is_none()), "{figures:?}");
        assert_eq!(quantities(&old, &window), figures, "{name}: to the last digit");
        assert_eq!(nodes(&run, &[], Some(&old)), nodes(&run, &[], Some(&new)), "{name}");
        let checks = |preset: &Preset| format!("{:?}", check_window(preset, &run.manifest, &window));
        assert_eq!(checks(&old), checks(&new), "{name}");
        assert_eq!(old.residual, new.residual);
        assert_eq!(old.process.companions, new.process.companions);
        assert_eq!(old.workload.query_count, new.workload.query_count);
        let patterns = |preset: &Preset| preset.runtime.iter().map(|p| p.0.to_string()).collect::<Vec<_>>();
        // What a file lists is added to what holds for any server.
        let generic = patterns(&Preset::built_in("generic").unwrap());
        for preset in [&old, &new] {
            let all = patterns(preset);
            assert!(all.starts_with(&generic) && all.len() > generic.len(), "{name}: {all:?}");
        }
        let listed = |preset: &Preset| preset.wanted().iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert!(listed(&new).is_subset(&listed(&old)), "{name}");
        let explicit = old.metric.iter().map(|wanted| wanted.selector.to_string()).collect::<BTreeSet<_>>();
        assert!(explicit.is_subset(&listed(&new)), "{name}: what was listed is still wanted");
    }
}

#[test]
fn a_preset_that_is_not_there_is_an_error_that_names_those_that_are() {
    let error = Preset::load("postgress").unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no preset `postgress`; there are materialize, testbed, postgres, cockroach, generic, or give the \
            path \
         of a file that ends in .toml"
    );
    let error = Preset::load("/nowhere/x.toml").unwrap_err().to_string();
    assert!(error.starts_with("cannot read the preset /nowhere/x.toml: "), "{error}");
    let parent = Preset::parse("a", "inherits = \"a\"").unwrap_err();
    assert!(matches!(parent, PresetError::Unknown { .. }), "only compiled-in presets are inherited from");
}

#[test]
fn a_file_of_the_users_is_found_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    std::fs::write(&path, "inherits = \"postgres\"\ndescription = \"ours\"\n").unwrap();
    let preset = Preset::load(path.to_str().unwrap()).unwrap();
    assert_eq!((preset.name.as_str(), preset.description.as_str()), ("mine", "ours"));
    assert_eq!(preset.process.children, Some(true));
}
