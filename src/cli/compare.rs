//! `wireprof compare`: two set-ups of one server, or two servers, measured by turns.

use super::conduct::{self, cut, duration};
use super::connect::plant;
use super::diagnose::keep_verdicts;
use super::json_lines::LiveOutput;
use super::names::Names;
use super::overview::checks_failing;
use super::own_load::OwnLoad;
use super::progress::Progress;
use super::screen::screen;
use super::shown::{Answered, Shown};
use super::source::{built_from, directory};
use super::{Common, Outcome, Usage};
use crate::analyze::compare::freshness::{Freshness, freshness};
use crate::analyze::compare::headline::headline;
use crate::analyze::compare::prediction::predictions;
use crate::connection::{shown_argument, shown_connection, without_secrets};
use crate::preset::{Preset, Step};
use crate::render::{
    Conclusion, Framing, Report, comparison_end, comparison_report, headline_lines, headline_value, on_terminal,
};
use crate::run::{Parts, Run, Store, name_of_part};
use crate::sweep::{self, Arm, Compared, Event, Launch, Limits, Request, SideSpec, Turns, compare, pairs};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Probability of any false difference, over all levels and looks.
const ALPHA: f64 = 0.01;

/// Measure two sides by turns, and say which is faster, by how much and how surely
#[derive(Args)]
#[command(
    next_help_heading = "Sides",
    mut_arg("section", |section| section.help(
        "Only these sections: freshness (only with --probe), verdicts, predicted, sides"
    )),
    after_help = "\
Sides differ in what is given with --a-... and --b-...; everything else applies to both. \
Turns alternate (ABBA BAAB ...), a server that wireprof starts is started anew for each, and the comparison ends as \
soon as throughput and latency of every level are decided. Each side is stored as a run: `wireprof diff A B`, `hot` \
and `explain` read them.

Examples:
  wireprof compare --testbed --levels 1,16,64 --awake \\
      --b-sql \"set transaction_isolation = 'serializable'\"
  wireprof compare --testbed --b-plant cpu:peek=10us --levels 16 --budget 10m
  wireprof compare --testbed --b-plant stale-reads=100ms \\
      --probe read-after-write --levels 16
  # a check of the measurement itself
  wireprof compare --testbed --aa
  wireprof compare --url postgres://app@localhost/db --query 'select 1' \\
      --b-sql 'set jit = off'
  wireprof compare --preset materialize \\
      --b-internal-sql 'ALTER SYSTEM SET enable_x = true'
  wireprof compare --url postgres://me@127.0.0.1:7000/db \\
      --a-command './old --port 7000' --b-command './new --port 7000'"
)]
pub struct Compare {
    /// What to call the first side
    #[arg(long, value_name = "NAME", default_value = "A")]
    a_name: String,
    /// What to call the second side
    #[arg(long, value_name = "NAME", default_value = "B")]
    b_name: String,
    /// SQL for each connection of the load of the first side; may be repeated
    #[arg(long, value_name = "SQL")]
    a_sql: Vec<String>,
    /// SQL for each connection of the load of the second side; may be repeated
    #[arg(long, value_name = "SQL")]
    b_sql: Vec<String>,
    /// ALTER SYSTEM SET on the administrator's port for the first side, put back after each turn; may be repeated
    #[arg(long, value_name = "SQL", value_parser = parameter)]
    a_internal_sql: Vec<Step>,
    /// As --a-internal-sql, for the second side
    #[arg(long, value_name = "SQL", value_parser = parameter)]
    b_internal_sql: Vec<Step>,
    /// Server of the first side [default: --url]
    #[arg(long, value_name = "URL", conflicts_with = "testbed")]
    a_url: Option<String>,
    /// Server of the second side [default: --url]
    #[arg(long, value_name = "URL", conflicts_with = "testbed")]
    b_url: Option<String>,
    /// Start this for each turn of the first side (by sh, in the foreground), and end it after
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["testbed", "target_host"])]
    a_command: Option<String>,
    /// Start this for each turn of the second side, and end it after
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["testbed", "target_host"])]
    b_command: Option<String>,
    /// Environment of the first side's command; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "a_command", value_parser = variable)]
    a_env: Vec<(String, String)>,
    /// Environment of the second side's command; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "b_command", value_parser = variable)]
    b_env: Vec<(String, String)>,
    /// A known bottleneck of the embedded target for the first side; may be repeated
    #[arg(long, value_name = "KIND:ARGS", requires = "testbed", value_parser = plant)]
    a_plant: Vec<String>,
    /// A known bottleneck of the embedded target for the second side; may be repeated
    #[arg(long, value_name = "KIND:ARGS", requires = "testbed", value_parser = plant)]
    b_plant: Vec<String>,
    /// Working copy that the first side's server was built from [default: --source]
    #[arg(long, value_name = "DIR", value_parser = directory)]
    a_source: Option<PathBuf>,
    /// Working copy that the second side's server was built from [default: --source]
    #[arg(long, value_name = "DIR", value_parser = directory)]
    b_source: Option<PathBuf>,
    /// The first side against itself: a difference that is found is the measurement's own
    #[arg(
        long,
        conflicts_with_all = ["b_sql", "b_internal_sql", "b_url", "b_command", "b_env", "b_plant", "b_source"]
    )]
    aa: bool,
    /// Replicates of each side at most
    #[arg(long, value_name = "K", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=1000),
        help_heading = "Plan")]
    max_replicates: u64,
    /// Time the comparison may take: after the first pair, fewer replicates are planned where they would not fit
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Plan")]
    budget: Option<Duration>,
    /// Differences up to this many percent count as none
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, help_heading = "Plan")]
    margin: f64,
    #[command(flatten)]
    own: OwnLoad,
    #[command(flatten, next_help_heading = "Output")]
    names: Names,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    live: LiveOutput,
}

/// The sections of a comparison; the help names them.
pub const SECTIONS: [&str; 4] = ["freshness", "verdicts", "predicted", "sides"];

fn lacking(section: &str) -> &'static str {
    match section {
        "freshness" => "only with --probe read-after-write",
        _ => "nothing was predicted from the sides' parts",
    }
}

fn parameter(text: &str) -> Result<Step, String> {
    Step::from_alter_system(text).ok_or_else(|| {
        format!(
            "`{text}` cannot be put back: write ALTER SYSTEM SET name = value, or make it a [[setup]] step with its \
                undo in a \
             preset of your own"
        )
    })
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no KEY=VALUE"))?;
    Ok((key.into(), value.into()))
}

/// One side's arguments.
struct Given<'a> {
    name: &'a str,
    sql: &'a [String],
    internal_sql: &'a [Step],
    url: Option<&'a String>,
    command: Option<&'a String>,
    environment: &'a [(String, String)],
    plants: &'a [String],
    source: Option<&'a PathBuf>,
}

impl Given<'_> {
    /// What is set for this side only, for people to read.
    fn setup(&self) -> Vec<String> {
        let parameters = self.internal_sql.iter().filter_map(|step| match step {
            Step::Parameter { parameter, value, .. } => Some(format!("{parameter} = {value}")),
            Step::Statement { .. } => None,
        });
        let mut setup: Vec<String> = self.sql.iter().map(|sql| format!("session: {sql}")).collect();
        setup.extend(parameters.map(|text| format!("parameter: {text}")));
        setup.extend(self.url.map(|url| format!("url: {}", shown_connection(url))));
        let variable = |(key, value): &(String, String)| shown_argument(&format!("{key}={value}"));
        setup.extend(self.environment.iter().map(|pair| format!("environment: {}", variable(pair))));
        setup.extend(self.command.map(|command| format!("command: {command}")));
        setup.extend(self.plants.iter().map(|plant| format!("plant: {plant}")));
        setup.iter().map(|line| without_secrets(line)).collect()
    }
}

impl Compare {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::measure(self.live.json_lines, common, async |progress| self.conduct(common, progress).await)
    }

    async fn conduct(&self, common: &Common, progress: &Progress) -> Result<Outcome> {
        self.shown.check(&SECTIONS)?;
        let (stop, store) = (conduct::stop_on_interrupt()?, Store::new(&common.runs));
        let connect = &self.own.connect;
        self.own.name.check(&store)?;
        let replicates = self.max_replicates as usize;
        let mut arms = self.arms(replicates, progress).await?;
        arms.iter_mut().for_each(|arm| arm.request.observe.live = progress.is_live());
        progress.plan(&arms[0].request.plan, arms[0].request.observe.follow, arms.len(), true);
        let preset = arms[0].request.preset.clone();
        let planned = pairs(replicates, arms[0].request.plan.seed);
        let turns = Turns::new(&store, &stop, arms, planned, connect.restore);
        let limits = Limits { replicates, budget: self.budget, alpha: ALPHA, margin: self.margin / 100.0 };
        let compared = compare(turns, &store, &preset, limits, &mut |event: Event| progress.event(event)).await;
        progress.done();
        self.answer(common, progress, &store, &preset, compared)
    }

    /// Both sides, refused where nothing tells them apart.
    async fn arms(&self, replicates: usize, progress: &Progress) -> Result<Vec<Arm>> {
        let usage = |why: &str| anyhow!(Usage(anyhow!("{why}")));
        let [a, b] = self.given();
        if !self.aa && a.setup() == b.setup() {
            return Err(usage(
                "both sides are alike: give what differs (--b-sql, --b-internal-sql, --b-url, --b-command, --b-plant), \
                 or --aa",
            ));
        }
        if a.name == b.name {
            return Err(usage("both sides have one name: give --a-name and --b-name"));
        }
        if a.command.is_some() != b.command.is_some() {
            return Err(usage(
                "a server that is started for each turn is compared with another such: give --a-command and \
                 --b-command",
            ));
        }
        let base = match a.command {
            // It does not run yet, so there is nobody to ask.
            Some(_) => self.own.request(&self.own.connect.preset()?, replicates)?,
            None => self.own.suited(replicates, a.url, progress).await?,
        };
        let arms = [a, b].map(|given| self.arm(&given, base.clone()));
        arms.iter().try_for_each(|arm| sweep::check(&arm.request))?;
        Ok(arms.into())
    }

    fn arm(&self, given: &Given, mut request: Request) -> Arm {
        request.load.session = given.sql.to_vec();
        request.name = request.name.map(|name| name_of_part(&name, given.name));
        let target = &mut request.target;
        target.parameters = given.internal_sql.to_vec();
        target.url = given.url.cloned().or(target.url.take());
        if let Some(directory) = given.source {
            target.source = built_from(directory);
        }
        let launch = match given.command {
            Some(command) => Launch::Command { command: command.clone(), environment: given.environment.to_vec() },
            None => self.own.connect.launch(given.plants),
        };
        Arm { request, launch, side: Some(SideSpec { name: given.name.into(), setup: given.setup(), ladder: None }) }
    }

    /// The sides as given; the first one twice for `--aa`.
    fn given(&self) -> [Given<'_>; 2] {
        let a = |name| Given {
            name,
            sql: &self.a_sql,
            internal_sql: &self.a_internal_sql,
            url: self.a_url.as_ref(),
            command: self.a_command.as_ref(),
            environment: &self.a_env,
            plants: &self.a_plant,
            source: self.a_source.as_ref(),
        };
        if self.aa {
            return [a(&self.a_name), a("A-again")];
        }
        let b = Given {
            name: &self.b_name,
            sql: &self.b_sql,
            internal_sql: &self.b_internal_sql,
            url: self.b_url.as_ref(),
            command: self.b_command.as_ref(),
            environment: &self.b_env,
            plants: &self.b_plant,
            source: self.b_source.as_ref(),
        };
        [a(&self.a_name), b]
    }

    /// The verdicts; then the error that cut the comparison short, if any.
    fn answer(
        &self,
        common: &Common,
        progress: &Progress,
        store: &Store,
        preset: &Preset,
        compared: Compared,
    ) -> Result<Outcome> {
        if compared.outcome.finished() == 0 {
            return Err(cut("comparison", compared.outcome));
        }
        let load = |side: &sweep::Ended| {
            store.load_parts(
                &side.directory.display().to_string(),
                Parts { metrics: true, timelines: true, ..Parts::NONE },
            )
        };
        let runs: Vec<Run> = compared.outcome.runs.iter().map(load).collect::<Result<_>>()?;
        let failing: Vec<usize> = runs.iter().map(checks_failing).collect();
        let freshness: Vec<Option<Freshness>> = runs.iter().map(freshness).collect();
        let differs = compared.differences();
        let predictions = match runs.as_slice() {
            [a, b] if !self.aa => predictions(a, b, preset),
            _ => Default::default(),
        };
        let conclusion = Conclusion {
            sides: &runs.iter().map(|run| &run.manifest).collect::<Vec<_>>(),
            found: compared.found.as_ref(),
            end: self.end(&compared),
            against_itself: self.aa.then_some(differs),
            failing: &failing,
            freshness: &freshness,
            predictions: &predictions,
        };
        let directories: Vec<_> = compared.outcome.runs.iter().map(|ended| ended.directory.as_path()).collect();
        keep_verdicts(&directories, preset);
        self.print(common, progress, &conclusion)?;
        match compared.outcome.cut {
            Some(_) => Err(cut("comparison", compared.outcome)),
            None if self.aa && differs > 0 || failing.iter().any(|count| *count > 0) => Ok(Outcome::CheckFailed),
            None => Ok(Outcome::Done),
        }
    }

    /// Ends with the headline; whether reads saw the writes comes before any speed.
    fn print(&self, common: &Common, progress: &Progress, conclusion: &Conclusion) -> Result<Outcome> {
        let report = comparison_report(conclusion);
        let (Some((_, difference)), [a, b]) = (conclusion.found, conclusion.sides) else {
            return if progress.lines().is_some() { Ok(Outcome::Done) } else { self.names.report(common, report) };
        };
        let headline = headline(difference);
        let next = vec![
            (format!("wireprof diff {} {}", a.id, b.id), "through what".into()),
            (format!("wireprof explain {}", b.id), "why B is slow".into()),
        ];
        let framing = Framing { width: common.width, next, ..Framing::default() };
        let correct = report.sections.iter().filter(|section| section.id == "freshness").cloned().collect();
        let correct = Report { title: report.title.clone(), runs: report.runs.clone(), sections: correct };
        let mut lines: Vec<String> =
            on_terminal(&correct, &screen(common.width)).lines().chain([""]).map(String::from).collect();
        lines.extend(headline_lines(&headline, Some(&comparison_end(conclusion)), &framing));
        let value = headline_value(&headline, &framing.next);
        if let Some(events) = progress.lines() {
            events.answer(value);
            return Ok(Outcome::Done);
        }
        let page = Answered {
            common,
            names: &self.names,
            shown: &self.shown,
            lines: &lines,
            value: &value,
            runs: &report.runs,
            lacking,
        };
        page.ending(|| report.clone(), || report.sections.clone())
    }

    /// How it ended, as a sentence.
    fn end(&self, compared: &Compared) -> String {
        let seconds = compared.took.as_secs_f64();
        let why = match compared.end {
            sweep::End::Decided => "throughput and latency of every level are decided".to_string(),
            sweep::End::Replicates => format!("all {} replicates of each side were taken", self.max_replicates),
            sweep::End::Budget => "the budget allowed no more replicates".to_string(),
            sweep::End::Cut if compared.interrupted() => "interrupted".to_string(),
            sweep::End::Cut => "cut short by an error".to_string(),
        };
        format!("Ended after {seconds:.0} s: {why}.")
    }
}
