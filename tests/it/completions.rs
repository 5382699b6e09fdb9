//! What bash offers after the script of `wireprof completions bash` was read: asked as bash asks, by the function that
//! the script registers.

use crate::binaries::WIREPROF;
use crate::cli::Place;
use std::path::Path;
use std::process::Command;

/// What is offered for the last word of the line; several in their order.
fn offered(place: &Place, line: &str) -> Vec<String> {
    let ask = r#"
        set -eu
        source <(wireprof completions bash)
        registered=$(complete -p wireprof)
        registered=${registered##*-F }
        read -ra COMP_WORDS <<<"$1"
        [[ $1 != *' ' ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9
        "${registered%% *}" wireprof "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let here = Path::new(WIREPROF).parent().unwrap().display().to_string();
    let path = format!("{here}:{}", std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ask, "bash", line]).current_dir(place.path()).env("PATH", path);
    let output = bash.env_remove("WIREPROF_RUNS").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{line}: {told}");
    String::from_utf8(output.stdout).unwrap().lines().filter(|word| !word.is_empty()).map(String::from).collect()
}

const RUN: &str = "20261122-101530-testbed";

#[test]
fn bash_offers_runs_by_id_and_by_name() {
    let place = Place::new();
    assert_eq!(offered(&place, "wireprof explain la"), ["latest"]);
    assert_eq!(offered(&place, "wireprof explain 2026"), [RUN]);
    assert_eq!(offered(&place, "wireprof diff latest 2026"), [RUN]);
    assert_eq!(offered(&place, "wireprof log new 2026"), [RUN]);
    let path = place.runs().join(RUN).join("manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap().replacen('{', "{\"name\": \"base\",", 1);
    std::fs::write(&path, manifest).unwrap();
    assert_eq!(offered(&place, "wireprof hot ba"), ["base"]);
    std::fs::rename(place.runs(), place.path().join("elsewhere")).unwrap();
    assert!(offered(&place, "wireprof explain 2026").is_empty());
    assert_eq!(offered(&place, "wireprof --runs elsewhere explain 2026"), [RUN]);
}

#[test]
fn bash_offers_what_the_run_and_the_preset_have() {
    let place = Place::new();
    assert_eq!(offered(&place, &format!("wireprof diagnose {RUN} --level ")), ["1", "16"]);
    assert_eq!(offered(&place, "wireprof explain latest --levels 1,1"), ["1,1", "1,16"]);
    assert_eq!(offered(&place, "wireprof hot --focus pe"), ["peek"]);
    assert!(offered(&place, "wireprof hot --preset generic --focus pe").is_empty());
    assert_eq!(offered(&place, "wireprof sweep --preset po"), ["postgres"]);
    assert_eq!(offered(&place, "wireprof explain --section levels,pl"), ["levels,places"]);
    assert_eq!(offered(&place, "wireprof compare --section ver"), ["verdicts"]);
    assert!(offered(&place, "wireprof sweep --levels 1").is_empty());
}

#[test]
fn bash_offers_verbs_and_options() {
    let place = Place::new();
    assert_eq!(offered(&place, "wireprof expl"), ["explain"]);
    assert!(offered(&place, "wireprof sweep --json").contains(&"--json-lines".to_string()));
}
