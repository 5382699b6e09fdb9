//! Options of the load, for the verbs that drive it themselves.

use super::Usage;
use super::conduct::duration;
use super::load_hosts::LoadHosts;
use crate::load::Protocol;
use crate::preset::Preset;
use crate::sweep::{DriverChoice, LoadRequest, LoadThreads, QueryCounter};
use crate::workload::{Workload, pgbench};
use anyhow::{Result, anyhow};
use clap::Args;
use std::time::Duration;

#[derive(Args)]
#[command(next_help_heading = "Load")]
pub struct Load {
    /// The statement to repeat [default: the preset's]
    #[arg(long, value_name = "SQL", conflicts_with = "workload")]
    query: Option<String>,
    /// A dbbench script (.ini), or scripts of pgbench's with weights: FILE.sql@3, builtin:tpcb-like (also
    /// simple-update, select-only)
    #[arg(long, value_name = "FILE[@WEIGHT]")]
    workload: Vec<String>,
    /// A variable of pgbench's scripts
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE", value_parser = definition, requires = "workload")]
    defined: Vec<(String, String)>,
    /// How statements are sent [default: simple]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Threads that drive the load; auto: as many as each level needs, while there are idle CPUs for them
    /// [default: auto]
    #[arg(long, value_name = "auto|N", value_parser = load_threads)]
    load_threads: Option<LoadThreads>,
    /// CPU that the client uses for each answer before it sends the next query, as an application would
    #[arg(long, value_name = "TIME", value_parser = duration)]
    client_work: Option<Duration>,
    /// Who drives the load: wireprof, or dbbench=PATH
    #[arg(long, value_name = "wireprof|dbbench=PATH", default_value = "wireprof", value_parser = driver)]
    driver: String,
    /// What counts queries on the server, for dbbench: an expression over its metrics, statements(REGEX), or sockets
    /// [default: the preset's]
    #[arg(long, value_name = "EXPRESSION")]
    divisor: Option<String>,
    #[command(flatten)]
    pub hosts: LoadHosts,
}

fn driver(text: &str) -> Result<String, String> {
    let known = text == "wireprof" || text.strip_prefix("dbbench=").is_some_and(|path| !path.is_empty());
    if known { Ok(text.into()) } else { Err("write wireprof, or dbbench=PATH".into()) }
}

fn load_threads(text: &str) -> Result<LoadThreads, String> {
    match text.parse::<usize>() {
        _ if text == "auto" => Ok(LoadThreads::Auto),
        Ok(threads @ 1..) => Ok(LoadThreads::Given(threads)),
        Ok(0) | Err(_) => Err("write auto, or a number from 1 up".into()),
    }
}

fn definition(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if pgbench::is_name(name) => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE, the name of letters, digits and _".into()),
    }
}

impl Load {
    /// The load that is asked for.
    ///
    /// # Errors
    /// No workload, one that cannot be read, or an option that the driver does not have.
    pub fn request(&self, preset: &Preset) -> Result<LoadRequest> {
        let usage = |error: anyhow::Error| anyhow!(Usage(error));
        let workload = match (&self.workload[..], self.query.as_ref().or(preset.workload.query.as_ref())) {
            ([_, ..], _) => pgbench::load(&self.workload, &self.defined).map_err(|e| usage(e.into()))?,
            ([], Some(query)) => Workload::from_query(query),
            ([], None) => return Err(usage(anyhow!("what is to be repeated? give --query or --workload"))),
        };
        if let Some(option) = self.of_own_load().filter(|_| self.driver != "wireprof") {
            return Err(usage(anyhow!("{option} is of wireprof's own load: leave it out, or leave out --driver")));
        }
        Ok(LoadRequest {
            workload,
            protocol: self.protocol.unwrap_or(Protocol::Simple),
            driver: match self.driver.strip_prefix("dbbench=") {
                Some(path) => DriverChoice::Dbbench(path.into()),
                None => DriverChoice::Own {
                    threads: self.load_threads.unwrap_or_default(),
                    client_work: self.client_work.unwrap_or_default(),
                },
            },
            counter: self.divisor.as_deref().map(QueryCounter::parse).transpose().map_err(usage)?,
            session: Vec::new(),
            hosts: None,
        })
    }

    /// An option that was given and means nothing to another driver.
    fn of_own_load(&self) -> Option<&'static str> {
        let given = [
            ("--client-work", self.client_work.is_some()),
            ("--load-threads", self.load_threads.is_some()),
            ("--protocol", self.protocol.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }
}
