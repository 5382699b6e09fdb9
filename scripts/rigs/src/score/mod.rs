//! Holds the diagnosis against known truth: `score [PLANT...]`, or `score --again DIRECTORY [PLANT...]` for runs that
//! are there. Each case is swept on the testbed with and without its plant, by turns, a testbed of its own for each;
//! the true effect is the difference of the mean latencies. The last
//! lines of each sweep must name the plant, too. Ends with 1 if a case fails. `scripts/score` builds and
//! runs it.

mod cases;
mod clock;
mod judge;
mod last_lines;

use anyhow::{Context, Result, ensure};
use cases::{CASES, Case, Companion};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use wireprof::sweep::pairs;

/// Long enough for some thousand samples of each side in three replicates.
const WINDOW: &str = "2500ms";
const WARMUP: &str = "700ms";

pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let mut arguments = arguments.to_vec();
    let again = arguments.first().is_some_and(|first| first == "--again");
    let directory = match again {
        true => PathBuf::from(arguments.drain(..2.min(arguments.len())).nth(1).context("--again needs a directory")?),
        false => tempfile::Builder::new().prefix("wireprof-score-").tempdir()?.keep(),
    };
    let known = |name: &String| CASES.iter().any(|case| case.name == name);
    if let Some(unknown) = arguments.iter().find(|name| !known(name)) {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        anyhow::bail!("there is no case {unknown:?}; there are {}", names.join(", "));
    }
    let replicates = std::env::var("REPLICATES").ok().map_or(Ok(3), |text| text.parse())?;
    eprintln!("runs: {}", directory.display());
    println!("{}", judge::heading());
    let mut failed = 0;
    for case in CASES.iter().filter(|case| arguments.is_empty() || arguments.iter().any(|name| name == case.name)) {
        let directory = directory.join(case.name.replace(':', "-"));
        if !again {
            measure(case, &directory, replicates).with_context(|| format!("case {}", case.name))?;
        }
        let score = judge::score(case, &directory).with_context(|| format!("case {}", case.name))?;
        failed += usize::from(!score.passed());
        println!("{score}");
    }
    println!("{failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Sweeps both sides by turns; runs go to `with/` and `without/`, what is printed with the plant beside them.
fn measure(case: &Case, directory: &Path, replicates: usize) -> Result<()> {
    let seed = case.name.bytes().map(u64::from).sum();
    for turn in pairs(replicates, seed) {
        let planted = turn.arm == 1;
        let beside = match (planted, case.beside) {
            (true, Some(beside)) => Some(Running::start(beside)?),
            _ => None,
        };
        let printed = sweep(case, planted, &directory.join(if planted { "with" } else { "without" }))?;
        drop(beside);
        if planted {
            last_lines::keep(directory, turn.replicate.unwrap_or(1), &printed)?;
        }
    }
    Ok(())
}

/// What a sweep prints.
fn sweep(case: &Case, planted: bool, runs: &Path) -> Result<String> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("wireprof");
    let mut command = Command::new(&binary);
    // The diagnosis compares with the lowest level; the side without the plant gives latencies only.
    let levels = match case.level {
        level @ 2.. if planted => format!("1,{level}"),
        level => level.to_string(),
    };
    command.args(["sweep", "--testbed", "--levels", &levels]);
    command.args(["--window", WINDOW, "--warmup", WARMUP, "--width", &last_lines::WIDTH.to_string()]);
    command.arg("--runs").arg(runs);
    let plants = case.base.iter().chain(case.plant.iter().filter(|_| planted));
    command.args(plants.flat_map(|plant| ["--plant", plant]));
    command.args(case.arguments.iter().filter(|_| planted));
    let output = command.output().with_context(|| format!("cannot run {}", binary.display()))?;
    // A check that fails is no failure here: some plants are there to make one fail.
    let ended = output.status.code();
    ensure!(matches!(ended, Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Something that runs beside for as long as this lives.
struct Running(Child);

impl Running {
    fn start(beside: Companion) -> Result<Running> {
        let Companion::Hog = beside;
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
        Ok(Running(command.spawn().context("cannot start the process that takes a CPU")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
