//! Few descriptors. Invariant: whatever the limit of open files, a verb ends with a message that a person can act on.

use crate::binaries::WIREPROF;
use std::process::Command;

#[test]
fn with_too_few_descriptors_a_measurement_ends_with_the_remedy_and_never_with_a_panic() {
    let place = tempfile::tempdir().unwrap();
    let with = |limit: usize| {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\"")).arg(WIREPROF).current_dir(place.path());
        // Nothing listens there.
        command.args(["sweep", "--url", "postgresql://nobody@127.0.0.1:1/none", "--query", "select 1"]);
        let output = command.args(["--levels", "1", "--window", "1s"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut refused = 0;
    for limit in 4..24 {
        let (code, errors) = with(limit);
        assert!(!errors.contains("panicked") && code.is_some_and(|code| code != 101), "{limit}: {code:?}: {errors}");
        refused += usize::from(errors.contains("cannot start the runtime"));
        if errors.contains("Too many open files") {
            assert!(errors.contains("ulimit -n") && !errors.contains("firewall"), "{limit}: {errors}");
        }
    }
    assert!(refused > 0, "a runtime with no descriptor to be had");
    let (_, errors) = with(256);
    assert!(errors.contains("127.0.0.1:1") && !errors.contains("ulimit"), "{errors}");
}
