//! The target of a round, and how its verb is called on it. Invariant: what was started here is gone with its value.

use super::cluster::Cluster;
use super::ground::{Ground, Place};
use super::plan::{Fault, Metrics, Misbehaviour, Round, Target, Verb};
use super::servers::Server;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use wireprof::child::die_with_parent;

/// What stands around wireprof in a round.
#[derive(Default)]
pub struct Around {
    pub metrics: Option<Server>,
    pub proxy: Option<Server>,
    pub pretend: Option<Pretend>,
    /// Load of somebody else.
    load: Option<Child>,
    // Last: it ends last.
    pub cluster: Option<Cluster>,
    /// The database's settings and tables before the round.
    pub before: Option<String>,
}

/// The rig's own server, a process.
pub struct Pretend {
    pub child: Child,
    words: ChildStdin,
    port: u16,
}

impl Pretend {
    fn start() -> Result<Pretend> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["faults", "serve"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_parent(&mut command, libc::SIGKILL);
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
        let words = child.stdin.take().context("no pipe")?;
        Ok(Pretend { child, words, port: line.trim().parse()? })
    }

    pub fn misbehave(&mut self, how: Misbehaviour) {
        // Ended already, perhaps.
        let _ = writeln!(self.words, "{}", format!("{how:?}").to_lowercase());
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        for child in self.load.iter_mut().chain(self.pretend.iter_mut().map(|pretend| &mut pretend.child)) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Around {
    pub fn start(ground: &Ground, round: &Round, place: &Place) -> Result<Around> {
        let mut around = Around::default();
        if let Fault::Metrics(fault) = round.fault {
            around.metrics = Some(Server::metrics(fault)?);
        }
        match round.target {
            Target::Postgres => {
                let cluster = Cluster::copy(&ground.programs, &ground.template(), &place.root.join("cluster"))?;
                around.before = cluster.state();
                if let Fault::Proxy(fault) = round.fault {
                    around.proxy = Some(Server::proxy(cluster.port, fault)?);
                }
                around.cluster = Some(cluster);
            }
            Target::Pretend => around.pretend = Some(Pretend::start()?),
            Target::Testbed | Target::Stored => {}
        }
        if round.verb == Verb::Record
            && let Some(port) = around.port()
        {
            around.load = Some(ground.programs.load(port, &place.root)?);
        }
        Ok(around)
    }

    fn port(&self) -> Option<u16> {
        self.cluster.as_ref().map(|cluster| cluster.port).or(self.pretend.as_ref().map(|pretend| pretend.port))
    }

    /// The server's process, where it is no child of wireprof's.
    pub fn server(&self) -> Option<u32> {
        let pretend = self.pretend.as_ref().map(|pretend| pretend.child.id());
        self.cluster.as_ref().map(Cluster::pid).or(pretend)
    }

    /// The arguments of the verb.
    pub fn arguments(&self, ground: &Ground, round: &Round, place: &Place) -> Result<Vec<String>> {
        let mut words: Vec<String> = match round.verb {
            Verb::Reads(arguments) => return Ok(arguments.iter().map(ToString::to_string).collect()),
            Verb::Import => return Ok(import(ground)),
            Verb::Sweep => vec!["sweep", "--levels", "1,4", "--warmup", "100ms", "--no-follow", "--restore"],
            Verb::Compare => {
                vec!["compare", "--levels", "2", "--warmup", "100ms", "--max-replicates", "2", "--restore"]
            }
            Verb::Record => vec!["record", "--windows", "2"],
        }
        .into_iter()
        .map(String::from)
        .collect();
        words.extend(["--window".into(), "500ms".into()]);
        if round.json_lines {
            words.push("--json-lines".into());
        }
        if round.verb == Verb::Sweep && round.target != Target::Pretend && round.dice.is_multiple_of(4) {
            // Instead of --no-follow.
            words.retain(|word| word != "--no-follow");
            words.extend(["--follow".into(), "500ms".into()]);
        }
        match round.target {
            Target::Testbed => words.push("--testbed".into()),
            Target::Postgres => words.extend(self.of_postgres(round, place)?),
            _ => words.extend(self.of_pretend(round)),
        }
        let of_side = match (round.verb, round.target) {
            (Verb::Compare, Target::Testbed) => ["--b-plant", "cpu:peek=20us"],
            (Verb::Compare, _) => ["--b-sql", "set jit = off"],
            _ => return Ok(words),
        };
        words.extend(of_side.map(String::from));
        Ok(words)
    }

    fn of_metrics(&self, round: &Round) -> Vec<String> {
        match &self.metrics {
            Some(server) => vec!["--metrics-url".into(), format!("http://{}/metrics", server.address)],
            None if round.dice.is_multiple_of(3) => Vec::new(),
            None => vec!["--no-metrics".into()],
        }
    }

    fn of_postgres(&self, round: &Round, place: &Place) -> Result<Vec<String>> {
        let cluster = self.cluster.as_ref().context("no cluster")?;
        let url = cluster.url(self.proxy.as_ref().map_or(cluster.port, |proxy| proxy.address.port()));
        let mut words = vec!["--url".into(), url];
        words.extend(["--statements-url".into(), cluster.url(cluster.port)]);
        words.extend(self.of_metrics(round));
        if self.proxy.is_some() {
            words.extend(["--pid".into(), cluster.pid().to_string(), "--pid-anyway".into()]);
        }
        words.push("--preset".into());
        if round.verb == Verb::Record {
            words.push("postgres".into());
            return Ok(words);
        }
        let (preset, workload) = (place.root.join("mine.toml"), place.root.join("mine.ini"));
        let made = "inherits = \"postgres\"\n[[setup]]\nstatement = \"create table made (a int)\"\n\
             unless = \"select 1 from pg_class where relname = 'made'\"\nundo = \"drop table made\"\n";
        std::fs::write(&preset, made)?;
        let script = "[setup]\nquery=create table worked (a int)\n[teardown]\nquery=drop table worked\n";
        std::fs::write(&workload, format!("{script}[a]\nquery=select 1\n"))?;
        words.extend([preset.display().to_string(), "--workload".into(), workload.display().to_string()]);
        Ok(words)
    }

    fn of_pretend(&self, round: &Round) -> Vec<String> {
        let port = self.port().unwrap_or_default();
        let mut words = vec!["--preset".into(), "generic".into()];
        words.extend(["--url".into(), format!("postgres://me@127.0.0.1:{port}/db?sslmode=disable")]);
        words.extend(self.of_metrics(round));
        if round.verb == Verb::Sweep {
            words.extend(["--query".into(), "select 1".into()]);
        }
        words
    }

    /// Whether the server's metrics misbehave from the start.
    pub fn begins_wrong(round: &Round) -> bool {
        matches!(round.fault, Fault::Metrics(Metrics::Many(_)))
    }
}

fn import(ground: &Ground) -> Vec<String> {
    let profile = std::fs::read_dir(ground.path("runs")).into_iter().flatten().flatten().next();
    let profile = profile.map(|run| run.path().join("L0001-R1/profile.pb.gz")).unwrap_or_default();
    let level = format!("1={}", profile.display());
    ["import", "--level", &level, "--queries", "1=1000", "--seconds", "1"].map(String::from).to_vec()
}
