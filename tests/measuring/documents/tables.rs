//! What stands for a reader's own things when the commands of the documents are run, and which commands are not run.
//! Invariant: every row is used; a row that no document needs fails the test.

/// In the documents' order: what some make, later ones use.
pub const DOCUMENTS: [&str; 11] = [
    "docs/transcript.md",
    "README.md",
    "docs/tutorial-postgresql.md",
    "docs/tutorial-materialize.md",
    "docs/agents.md",
    "docs/questions.md",
    "docs/places.md",
    "docs/viewers.md",
    "docs/troubleshooting.md",
    "docs/how-it-works.md",
    "docs/formats.md",
];

pub struct Replaced {
    /// Of this document alone; empty: of all.
    pub document: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

const fn everywhere(from: &'static str, to: &'static str) -> Replaced {
    Replaced { document: "", from, to }
}

const fn within(document: &'static str, from: &'static str, to: &'static str) -> Replaced {
    Replaced { document, from, to }
}

const README: &str = "README.md";
const POSTGRESQL: &str = "docs/tutorial-postgresql.md";
const MATERIALIZE: &str = "docs/tutorial-materialize.md";
const AGENTS: &str = "docs/agents.md";
const QUESTIONS: &str = "docs/questions.md";

/// In this order, each wherever it stands in a command whose lines were joined.
pub const REPLACED: &[Replaced] = &[
    // A few short windows instead of minutes. What carries the queries is followed where a later command asks for it.
    within(README, "--preset postgres --url URL", "--preset postgres --url URL --windows 2"),
    within(README, "--levels 1,16,64", "--levels 2 SHORT"),
    everywhere("--preset materialize --restore", "--preset materialize --restore --levels 2 SHORT"),
    within(QUESTIONS, "sweep --testbed", "sweep --preset materialize --restore --levels 2 SHORT"),
    within(README, "sweep --url URL --query 'select 1'", "sweep --url URL --query 'select 1' --levels 2 SHORT"),
    within(POSTGRESQL, "--levels 1,4,16", "--levels 1,4,16 SHORT"),
    within(POSTGRESQL, "scale=10", "scale=1"),
    within(POSTGRESQL, "--scale 10", "--quiet --scale 1"),
    within(MATERIALIZE, "--restore --name batched", "--restore --no-follow --name batched"),
    within(MATERIALIZE, "--levels 1,16,64,128 --window 20s", "--levels 64 --window 1s"),
    within(AGENTS, "--levels 1,4,16,64,128 --window 20s", "--levels 64 --window 1s --no-follow"),
    everywhere("SHORT", "--window 500ms --warmup 100ms --no-follow"),
    // The testbed has environmentd's names, metrics and ports' roles, and ends with its sweep.
    everywhere("doctor --preset materialize", "doctor"),
    everywhere("--preset materialize", "--testbed"),
    // Somebody else's load.
    everywhere(
        "wireprof record",
        "pgbench -n -f load.sql -c 4 -T 4 \"$POSTGRES\" >pgbench.txt 2>&1 & wireprof record --window 500ms",
    ),
    // The server that the test starts.
    everywhere("postgres://app@localhost/db", "\"$POSTGRES\""),
    everywhere(" --url URL", " --url \"$POSTGRES\""),
    // Runs that the transcript makes.
    everywhere(" BEFORE AFTER", " before after"),
    everywhere(" A B", " before after"),
    everywhere(" RUN AGAIN", " before after"),
    everywhere(" RUN", " before"),
    everywhere(" PROMPT", " prompt.txt"),
    everywhere(" REGEX", " mz_ts_oracle"),
    everywhere(" DIR", " manual"),
    // Where the programs are, and what is not installed everywhere.
    everywhere("target/release/wireprof", "wireprof"),
    everywhere("inferno-flamegraph --countname ns", "grep ';'"),
    everywhere("jq '.[0].every'", "grep every"),
    everywhere("runs/ID/L0064-R1", "$(ls -d runs/*/L0064-R1 | head -n 1)"),
];

/// How commands begin that are not run, and why.
pub const NOT_RUN: &[(&str, &str)] = &[
    ("./scripts/quickstart", "scripts/test runs it"),
    ("./scripts/test", "this is a part of it"),
    ("cargo test --lib", "scripts/test runs it"),
    ("cargo install", "compiles all dependencies once more"),
    ("./scripts/deb", "tests/it/package.rs runs it"),
    ("sudo ", "changes the machine"),
    ("npm install", "scripts/install installs it; tests/it/export_viewers.rs uses it"),
    ("speedscope ", "opens a browser"),
    ("go tool pprof", "tests/it/export_viewers.rs runs it where Go is installed"),
    ("jq ", "is not installed by scripts/install"),
    ("zcat runs/ID/L0064-R1/metrics-after.prom.gz | promtool", "promtool is not installed by scripts/install"),
    ("python3 plot.py", "needs a package from the network"),
    ("wireprof open RUN", "serves until Ctrl-C; tests/it/export_viewers.rs"),
    ("wireprof VERB --help", "VERB stands for any"),
    ("wireprof compare --testbed --b-plant", "tests/measuring/compare.rs"),
    (
        "wireprof compare --preset materialize",
        "needs two builds of environmentd; tests/measuring/compare.rs has two commands",
    ),
    ("wireprof record --preset materialize", "tests/measuring/record.rs"),
    ("wireprof sweep --also postgres", "tests/measuring/sweep_presets.rs"),
    ("wireprof sweep --observer-cost", "tests/measuring/options.rs"),
    ("wireprof sweep --precision", "tests/measuring/precision.rs"),
    ("wireprof sweep --url postgres://app@db1:5432/app --target-host", "tests/measuring/two_hosts.rs has two hosts"),
    ("wireprof push", "tests/it/push.rs has receivers"),
    ("wireprof import pyroscope=", "tests/it/push.rs has a server"),
    ("wireprof sweep --preset postgres --url postgres://USER@HOST:PORT/DB --query SQL", "the README's is run"),
    ("wireprof sweep --url URL --query SQL", "the README's is run"),
    ("wireprof import --level 16=perf.data", "tests/it/import_profiles.rs"),
];
