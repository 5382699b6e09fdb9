//! `wireprof doctor`: what this host and this target permit, and what mends the rest. Invariant: every check tries the
//! thing itself where it can (opens the events, connects, scrapes) and changes nothing.

use super::{Common, Outcome, Usage, output};
use crate::load::{self, Address};
use crate::preset::Preset;
use crate::render::{Cell, Column, Report, Section, Table};
use crate::runtime;
use crate::sweep;
use crate::target::{Forbidden, setcap_command};
use anyhow::{Result, anyhow};
use clap::Args;

mod host;
mod server;

/// What this host and this server permit, and the command that mends what they do not
#[derive(Args)]
#[command(
    next_help_heading = "Target",
    after_help = "\
Exit code 0 if a sweep is possible (what it would have to do without is said), 3 if not.

Examples:
  wireprof doctor
  wireprof doctor --preset materialize
  wireprof doctor --preset postgres --url postgres://app@localhost/db --json"
)]
pub struct Doctor {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Server to look at [default: the preset's]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Administrator's connection for the set-up [default: the preset's, for a server on its host]
    #[arg(long, value_name = "URL")]
    internal_url: Option<String>,
    /// Prometheus metrics of the server, by http or https [default: the preset's, for a server on its host]
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// Database whose statement statistics are read [default: --url, where the preset says so]
    #[arg(long, value_name = "URL")]
    statements_url: Option<String>,
    /// The server's process [default: the one that listens on the URL's port]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostStatus {
    Good,
    /// A sweep does without, or with something less good.
    Limited,
    /// No sweep as it stands.
    Refused,
}

struct HostCheck {
    what: &'static str,
    verdict: HostStatus,
    found: String,
    /// Empty where there is nothing to mend.
    remedy: String,
}

impl HostCheck {
    fn good(what: &'static str, found: impl Into<String>) -> HostCheck {
        HostCheck { what, verdict: HostStatus::Good, found: found.into(), remedy: String::new() }
    }

    fn limited(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> HostCheck {
        HostCheck { what, verdict: HostStatus::Limited, found: found.into(), remedy: remedy.into() }
    }

    fn refused(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> HostCheck {
        HostCheck { what, verdict: HostStatus::Refused, found: found.into(), remedy: remedy.into() }
    }

    fn forbidden(what: &'static str, why: &Forbidden) -> HostCheck {
        HostCheck::refused(what, why.cause.clone(), why.remedy.clone())
    }
}

impl Doctor {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let name = self.preset.clone().unwrap_or_else(|| "generic".into());
        let mut preset = Preset::load(&name).map_err(|error| anyhow!(Usage(error.into())))?;
        let url = self.url.clone().or(preset.connect.url.clone());
        let address = url.map(|url| Address::parse(&url)).transpose()?;
        let host = host::checks(common);
        let mut lacks = lacks_rights(&host);
        let mut sections = vec![section("This host", &host)];
        let mut refused = refusals(&sections[0].1);
        let mut chosen = None;
        if address.is_some() || self.pid.is_some() {
            let runtime = runtime::with_threads(1, "wireprof-doctor")?;
            // A server that cannot be asked is told of by its checks.
            let asked = address.as_ref().filter(|_| self.preset.is_none()).map(|at| sweep::ask(at, self.pid));
            if let Some(Ok(found)) = asked.map(|asked| runtime.block_on(asked)) {
                chosen = Some(found.sentence());
                preset = found.preset;
            }
            if let Some(address) = &address {
                sweep::leave_out_other_hosts(&mut preset, address);
            }
            let checks = runtime.block_on(server::checks(&self, &preset, address.as_ref()));
            let title =
                address.as_ref().map_or("The process".into(), |address| format!("The server {}", address.shown()));
            lacks |= lacks_rights(&checks);
            let made = section(&title, &checks);
            refused += refusals(&made.1);
            sections.push(made);
        }
        let possible = refused == 0;
        let last = self.verdict(refused, address.is_some(), chosen, lacks);
        let title = format!("What is permitted: {}", last[0]);
        let mut sections: Vec<Section> = sections.into_iter().map(|(section, _)| section).collect();
        sections.push(Section { id: "verdict", title: "Conclusion".into(), notes: last, ..Section::default() });
        let sections = if common.json { sections } else { sections.into_iter().map(remedies_below).collect() };
        output::report(common, &Report { title, sections, ..Report::default() })?;
        Ok(if possible { Outcome::Done } else { Outcome::NotPermitted })
    }

    /// The last words: whether a sweep is possible, by which preset, and what gives the rights that are lacking.
    fn verdict(&self, refused: usize, has_address: bool, chosen: Option<String>, lacks: bool) -> Vec<String> {
        let mut last = match (refused, has_address) {
            (0, true) => vec!["A sweep of this server is possible.".to_string()],
            (0, false) => {
                vec!["A sweep is possible; name a server with --url or --preset to have it looked at, too.".into()]
            }
            _ => vec![format!("A sweep is not possible as it stands: {refused} of the checks refuse it.")],
        };
        match chosen {
            Some(sentence) => last.push(format!("Without --preset a sweep takes {sentence}.")),
            None if self.preset.is_none() && has_address => {
                last.push("Without --preset only what every server has was looked at.".into());
            }
            None => {}
        }
        if lacks {
            last.push("As root, this gives every user of this program what this user lacks:".into());
            last.push(format!("    {}", setcap_command()));
        }
        last
    }
}

/// Whether the capabilities of the program's file would mend one of them.
fn lacks_rights(checks: &[HostCheck]) -> bool {
    let command = setcap_command();
    checks.iter().any(|check| check.remedy.contains(&command))
}

fn refusals(verdicts: &[HostStatus]) -> usize {
    verdicts.iter().filter(|verdict| **verdict == HostStatus::Refused).count()
}

fn section(title: &str, checks: &[HostCheck]) -> (Section, Vec<HostStatus>) {
    let columns = vec![
        Column::text("check", "check"),
        Column::text("verdict", "status"),
        Column::text("found", "found"),
        Column::text("remedy", "remedy"),
    ];
    let verdict = |verdict: HostStatus| match verdict {
        HostStatus::Good => Cell::coded("ok", "ok"),
        HostStatus::Limited => Cell::coded("limited", "limited"),
        HostStatus::Refused => Cell::coded("refused", "REFUSED"),
    };
    let text = |text: &str| if text.is_empty() { Cell::Empty } else { Cell::Text(text.into()) };
    let row =
        |check: &HostCheck| vec![text(check.what), verdict(check.verdict), text(&check.found), text(&check.remedy)];
    let table = Table { columns, rows: checks.iter().map(row).collect(), ..Table::default() };
    let section = Section { id: "permitted", title: title.into(), tables: vec![table], ..Section::default() };
    (section, checks.iter().map(|check| check.verdict).collect())
}

/// A screen has no room for remedies beside what was found: they stand below, for the few checks that have one.
fn remedies_below(mut section: Section) -> Section {
    for table in &mut section.tables {
        table.columns.retain(|column| column.key != "remedy");
        for row in &mut table.rows {
            if let (Some(Cell::Text(remedy)), Some(Cell::Text(check))) = (row.pop(), row.first()) {
                table.notes.push(format!("Remedy ({check}): {remedy}."));
            }
        }
    }
    section
}

/// The remedy of an error stands behind its last `;`, by the house's form "thing: cause; remedy".
fn split_remedy(error: &str) -> (String, String) {
    match error.rsplit_once("; ") {
        Some((cause, remedy)) => (cause.to_string(), remedy.to_string()),
        None => (error.to_string(), String::new()),
    }
}

/// A connection that is tried and closed.
fn connects(address: &Address) -> Result<(), load::LoadError> {
    tokio::task::block_in_place(|| load::check(address))
}
