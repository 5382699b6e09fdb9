//! What `--json-lines` prints where nothing can be measured: the last line is the end, with the failure.

use crate::sweeps::Place;
use serde_json::Value;

/// The lines of a command that fails, and its exit code.
fn lines(arguments: &[&str]) -> (Vec<Value>, i32) {
    let answer = Place::new().run(arguments);
    assert!(!answer.err.is_empty(), "standard error has the failure in words");
    (answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), answer.code)
}

#[test]
fn what_is_refused_ends_with_its_failure_and_has_no_start() {
    let refused: [(&[&str], i32, &str); 5] = [
        (&["sweep", "--json-lines", "--preset", "generic", "--query", "select 1"], 2, "which server? give --url"),
        (&["sweep", "--json-lines", "--nonsense"], 2, "unexpected argument '--nonsense'"),
        (&["compare", "--json-lines", "--testbed"], 2, "both sides are alike"),
        (&["record", "--json-lines", "--preset", "generic", "--clients", "0"], 2, "numbers from 1 up"),
        (&["record", "--json-lines", "--preset", "generic", "--url", "postgres://localhost:1"], 3, "port 1"),
    ];
    for (arguments, code, told) in refused {
        let (lines, exit_code) = lines(arguments);
        let [end] = lines.iter().filter(|line| line["event"] != "start").collect::<Vec<_>>()[..] else {
            panic!("{lines:?}")
        };
        assert_eq!((&end["event"], exit_code), (&"end".into(), code), "{end}");
        assert_eq!((&end["exit_code"], &end["error"]["code"]), (&code.into(), &code.into()), "{end}");
        assert!(end["error"].to_string().contains(told), "no {told:?} in {end}");
        assert!(end["answer"].is_null() && end["runs"].as_array().unwrap().is_empty(), "{end}");
    }
}

#[test]
fn events_are_for_programs_alone_and_no_other_form_goes_with_them() {
    for verb in ["sweep", "record", "compare"] {
        for other in ["--json", "--brief", "--full", "--section=levels"] {
            let (lines, code) = lines(&[verb, "--json-lines", other]);
            let message = lines[0]["error"]["message"].as_str().unwrap();
            assert!(code == 2 && message.contains("cannot be used with"), "{verb} {other}: {message}");
        }
    }
}
