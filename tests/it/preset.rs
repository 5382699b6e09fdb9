//! Presets: the compiled-in ones are valid, a user's file refines them, and mistakes are named with their line.

use wireprof::preset::{BUILT_IN, Connection, Preset, PresetError, Step, set_parameter};

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
    assert_eq!(testbed.process.others, ["postgres"]);
    assert_eq!(testbed.process.children, Some(false));
    assert_eq!(testbed.connect.internal, materialize.connect.internal);
    assert_eq!(testbed.quantity.len(), materialize.quantity.len() + 3);
    assert_eq!(testbed.guards.churn.len(), 4);
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
        if let Step::Statement { on, statement, tolerate, only_if_empty, only_with_previous, .. } = step {
            assert_eq!(*on, Connection::Internal);
            assert!(
                !tolerate.is_empty()
                    || only_if_empty.is_some()
                    || *only_with_previous
                    || statement.starts_with("GRANT"),
                "{statement} breaks when run twice"
            );
        }
    }
}

#[test]
fn plumbing_is_the_runtime_and_not_what_runs_in_it() {
    let plumbing = Preset::built_in("materialize").unwrap().plumbing;
    let folded = |name: &str| plumbing.iter().any(|p| p.0.is_match(name));
    for name in [
        "tokio::runtime::scheduler::multi_thread::worker::run",
        "<tokio::runtime::scheduler::multi_thread::worker::Context>::run_task",
        "<tokio::runtime::task::harness::Harness<tracing::instrument::Instrumented<mz_pgwire::protocol::run>>>::poll",
        "core::ptr::drop_in_place::<tokio::runtime::task::Notified>",
        "<core::future::poll_fn::PollFn<mz_pgwire::protocol::run> as core::future::future::Future>::poll",
        "<core::pin::Pin<alloc::boxed::Box<dyn core::future::future::Future<Output = ()>>> as core::future::future::Future>::poll",
        "<alloc::boxed::Box<dyn core::ops::function::FnOnce<()>> as core::ops::function::FnOnce<()>>::call_once",
        "std::panicking::catch_unwind::<(), core::panic::unwind_safe::AssertUnwindSafe<x>>",
        "<std::sys::thread::unix::Thread>::new::thread_start",
        "std::sys::backtrace::__rust_begin_short_backtrace::<a, b>",
        "<std::thread::local::LocalKey<tokio::runtime::context::Context>>::with::<x>",
        "<tracing::instrument::Instrumented<mz_pgwire::protocol::run> as core::future::future::Future>::poll",
        "core::ops::function::FnOnce::call_once{{vtable.shim}}",
        "start_thread",
        "__clone3",
    ] {
        assert!(folded(name), "{name} stays");
    }
    for name in [
        "<mz_adapter::peek_client::PeekClient>::try_frontend_peek_cached::{closure#0}",
        "<mz_pgwire::protocol::StateMachine<tokio::runtime::Handle>>::query",
        "tokio_postgres::connection::Connection<tokio_postgres::socket::Socket>::poll_read",
        "<tokio::sync::semaphore::Semaphore>::acquire::{closure#0}",
        "<tokio::net::tcp::stream::TcpStream as tokio::io::async_read::AsyncRead>::poll_read",
        "alloc::vec::Vec<u8>::extend",
        "do_syscall_64",
        "main_loop",
    ] {
        assert!(!folded(name), "{name} is folded");
    }
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
    assert_eq!(preset.quantity[0].unit, "ms");
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
    let pattern = why("plumbing = [\n'ok',\n'(']\n");
    assert!(pattern.contains("line") && pattern.contains("`(` is no regular expression"), "{pattern}");
    let per = why("[[metric]]\nselector = \"a\"\nunit = \"s\"\nper = \"querry\"\n");
    assert!(per.contains("line 4") && per.contains("querry"), "{per}");
    let selector = why("[[metric]]\nselector = \"a{b}\"\nunit = \"s\"\nper = \"query\"\n");
    assert!(selector.contains("line 2") && selector.contains("at byte 2"), "{selector}");
}

#[test]
fn a_preset_that_is_not_there_is_an_error_that_names_those_that_are() {
    let error = Preset::load("postgress").unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no preset `postgress`; there are materialize, testbed, postgres, cockroach, generic, or give the path \
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
