//! What the target's host is asked to observe, as it goes over the link. Invariant: everything of a request that needs
//! the target is in it, nothing that needs the load; passwords in it go through ssh's encryption into the other
//! process's memory, and nowhere else.

use super::super::{DriverChoice, LoadRequest, ObserveRequest, Plan, QueryCounter, Request, TargetRequest, Timing};
use crate::connection::Address;
use crate::load::Protocol;
use crate::preset::{Preset, Step};
use crate::sample::{self, ChosenRate, Following, interrupt_cost};
use crate::workload::Workload;
use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See the module.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Its name, and its text where it is none of the compiled-in ones.
    preset: (String, Option<String>),
    /// The preset's own address of the metrics, as far as it is in force.
    preset_metrics: Option<String>,
    url: String,
    internal_url: Option<String>,
    statements_url: Option<String>,
    metrics_url: Option<String>,
    pid: Option<u32>,
    pid_anyway: bool,
    setup: bool,
    parameters: Vec<Step>,
    /// The workload has the preset's own query.
    own_query: bool,
    no_metrics: bool,
    no_statements: bool,
    reset_statements: bool,
    wire: bool,
    companions: Vec<String>,
    sampling: Option<sample::Options>,
    /// ns; `None`: carriers are not followed.
    follow: Option<u64>,
    awake: bool,
    /// ns.
    window: u64,
    /// The load is somebody else's: the number of its clients and what counts its queries, where the user says it.
    foreign: Option<(Option<usize>, Option<String>)>,
}

impl Order {
    /// What a request asks of the target's host. `address`: the server's, as this host reaches it.
    ///
    /// # Errors
    /// An address in it that cannot be read.
    pub fn of(request: &Request, address: &Address) -> Result<Order> {
        let (target, observe) = (&request.target, &request.observe);
        let one = |url: &String| anyhow::Ok(with_password(&Address::parse(url)?));
        let whole = |url: &Option<String>| url.as_ref().map(one).transpose();
        let internal = target.internal_url.clone().or(request.preset.connect.internal.clone());
        Ok(Order {
            preset: (request.preset.name.clone(), request.preset.text.clone()),
            preset_metrics: request.preset.connect.metrics.clone(),
            url: with_password(address),
            internal_url: whole(&internal.filter(|_| target.setup || !target.parameters.is_empty()))?,
            statements_url: whole(&observe.statements_url)?,
            metrics_url: observe.metrics_url.clone(),
            pid: target.pid,
            pid_anyway: target.pid_anyway,
            // One that nobody named has none left, and is read anew there.
            setup: target.setup && !request.preset.setup.is_empty(),
            parameters: target.parameters.clone(),
            own_query: request.has_own_query(),
            no_metrics: observe.no_metrics,
            no_statements: observe.no_statements,
            reset_statements: observe.reset_statements,
            wire: observe.wire,
            companions: observe.companions.clone(),
            sampling: observe.sampling.clone(),
            follow: observe.follow.map(|length| length.as_nanos() as u64),
            awake: observe.awake,
            window: request.plan.timing.window.as_nanos() as u64,
            foreign: match request.load.driver {
                DriverChoice::Foreign { clients } => {
                    Some((clients, request.load.counter.as_ref().map(ToString::to_string)))
                }
                _ => None,
            },
        })
    }

    /// The same as a request of this host, which is the target's.
    ///
    /// # Errors
    /// A preset that this version cannot read.
    pub fn request(self) -> Result<Request> {
        let (name, text) = &self.preset;
        let mut preset = match text {
            Some(text) => Preset::parse(name, text)?,
            None => Preset::built_in(name)?,
        };
        // What is in force of its addresses is known beside the load.
        (preset.connect.internal, preset.connect.metrics) = (None, self.preset_metrics);
        let (driver, counter) = match self.foreign {
            Some((clients, counter)) => {
                let counter = counter.map(|text| QueryCounter::parse(&text)).transpose()?;
                (DriverChoice::Foreign { clients }, counter)
            }
            None => (DriverChoice::Elsewhere, None),
        };
        let own_query = preset.workload.query.clone().filter(|_| self.own_query);
        let workload = own_query.map_or_else(Workload::none, |sql| Workload::from_query(&sql));
        Ok(Request {
            preset,
            target: TargetRequest {
                url: Some(self.url),
                internal_url: self.internal_url,
                pid: self.pid,
                pid_anyway: self.pid_anyway,
                setup: self.setup,
                parameters: self.parameters,
                here: true,
                ..TargetRequest::default()
            },
            load: LoadRequest {
                workload,
                protocol: Protocol::default(),
                driver,
                counter,
                session: Vec::new(),
                hosts: None,
            },
            observe: ObserveRequest {
                metrics_url: self.metrics_url,
                no_metrics: self.no_metrics,
                statements_url: self.statements_url,
                no_statements: self.no_statements,
                reset_statements: self.reset_statements,
                wire: self.wire,
                companions: self.companions,
                sampling: self.sampling.map(at_the_rate_of_this_host),
                follow: self.follow.map(Duration::from_nanos),
                awake: self.awake,
                ..ObserveRequest::default()
            },
            plan: Plan {
                levels: Vec::new(),
                replicates: 1,
                seed: 0,
                timing: Timing { warmup: Duration::ZERO, window: Duration::from_nanos(self.window) },
                precision: None,
            },
            arguments: Vec::new(),
            name: None,
        })
    }
}

/// An interrupt costs what it costs on the host that is sampled.
pub(super) fn at_the_rate_of_this_host(mut options: sample::Options) -> sample::Options {
    let interrupt = interrupt_cost().ok();
    let chosen = options.chosen.take().map(|chosen| match chosen.budget {
        Some(budget) => ChosenRate::within(budget, interrupt, Following::ASSUMED),
        None => ChosenRate::asked(chosen.frequency, interrupt),
    });
    if let Some(chosen) = chosen {
        options.set_rate(chosen);
    }
    options
}

/// A server's address as a URL with the password that was found for it here.
pub fn with_password(address: &Address) -> String {
    let shown = address.shown();
    let Some(password) = address.password() else { return shown };
    let password = percent_encoding::percent_encode(password.expose(), NON_ALPHANUMERIC).to_string();
    let user = utf8_percent_encode(&address.user, NON_ALPHANUMERIC).to_string();
    match shown.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, place)) => format!("{scheme}://{user}:{password}@{place}"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_of_a_preset_here_is_not_in_it_there() {
        let address = Address::parse_in("postgres://me@db:6875/app", &|_| None).unwrap();
        let there = |preset: Preset| {
            let mut request = Request::example(preset);
            request.target.setup = true;
            let there = Order::of(&request, &address).unwrap().request().unwrap();
            (there.target.setup, there.target.internal_url.is_some(), there.preset.connect)
        };
        let named = Preset::built_in("materialize").unwrap();
        let (setup, internal, connect) = there(named.clone());
        assert!(setup && internal && connect.metrics == named.connect.metrics);
        let mut recognised = named;
        recognised.setup.clear();
        (recognised.connect.internal, recognised.connect.metrics) = (None, None);
        let (setup, internal, connect) = there(recognised);
        assert!(!setup && !internal, "nobody named it");
        assert_eq!((connect.internal, connect.metrics), (None, None));
    }

    #[test]
    fn an_address_goes_over_the_link_whole_and_only_there() {
        for (url, password) in [
            ("postgres://me:a%20b%40c@db:6875/app?sslmode=disable", Some("a b@c")),
            ("host=db user='m e' password=x'y dbname=app", None),
            ("postgres://me@db/app", None),
        ] {
            let Ok(address) = Address::parse_in(url, &|_| None) else { continue };
            let again = Address::parse_in(&with_password(&address), &|_| None).unwrap();
            assert_eq!(again.shown(), address.shown());
            let of = |address: &Address| address.password().map(|secret| secret.expose().to_vec());
            assert_eq!(of(&again), of(&address), "{url}");
            assert!(password.is_none_or(|password| of(&again).as_deref() == Some(password.as_bytes())));
            assert!(password.is_none() || !again.shown().contains("a%20b"));
        }
    }
}
