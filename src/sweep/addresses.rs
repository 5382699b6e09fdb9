//! Which addresses of a preset are in force: those of the host that the user points at. Invariant: nothing is set on,
//! and no metrics are read from, another host than that of `--url`, unless the user names it.

use super::Request;
use crate::connection::Address;
use crate::load::LoadError;
use crate::preset::{Connection, Preset, Step};
use anyhow::{Result, bail};

/// Leaves out what the preset has for its own host, where the server at `address` is on another one; whether there was
/// anything. A preset without an address of its own says of no host that it is another.
pub fn leave_out_other_hosts(preset: &mut Preset, address: &Address) -> bool {
    let own = preset.connect.url.as_ref().and_then(|url| Address::parse(url).ok());
    if own.is_none_or(|own| address.is_on_the_host_of(&own)) {
        return false;
    }
    let left_out = [preset.connect.internal.take(), preset.connect.metrics.take()];
    left_out.iter().any(Option::is_some)
}

/// As [`leave_out_other_hosts`], with a note of the metrics that are not read for it. On the host that `--target-host`
/// names the preset's own addresses are as that host knows them: give `address` as [`Address::on_this_host`].
///
/// # Errors
/// The set-up needs the administrator's connection, and there is none to this host.
pub fn settle(request: &mut Request, address: &Address, notes: &mut Vec<String>) -> Result<()> {
    let own = request.preset.connect.clone();
    if !leave_out_other_hosts(&mut request.preset, address) {
        return Ok(());
    }
    let name = &request.preset.name;
    let other = format!("--url names another host than preset {name} does");
    let sends = !request.load.driver.is_foreign();
    if sends && own.internal.is_some() && request.target.internal_url.is_none() && sets_by_administrator(request) {
        let instead = if request.target.parameters.is_empty() { ", or --no-setup to leave it as it is" } else { "" };
        bail!(LoadError::Usage(format!(
            "{other}, and the administrator's connection of the preset is to its own: give this server's with \
             --internal-url{instead}"
        )));
    }
    let observe = &request.observe;
    if own.metrics.is_some() && observe.metrics_url.is_none() && !observe.no_metrics {
        notes.push(format!(
            "{other}: the preset's address of the metrics is not used; give this server's with --metrics-url"
        ));
    }
    Ok(())
}

fn sets_by_administrator(request: &Request) -> bool {
    let set_up = request.target.setup && needs_administrator(&request.preset.setup, request.has_own_query());
    set_up || needs_administrator(&request.target.parameters, false)
}

/// Whether a set-up surely uses the administrator's connection; `own_query`: the workload has the preset's own query.
pub fn needs_administrator(steps: &[Step], own_query: bool) -> bool {
    steps.iter().any(|step| match step {
        Step::Parameter { on, .. } => *on == Connection::Internal,
        Step::Statement { on, for_own_query, only_with_previous, .. } => {
            *on == Connection::Internal && !only_with_previous && (own_query || !for_own_query)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::DriverChoice;

    /// What of its addresses preset materialize keeps for a server.
    fn kept(url: &str, at_the_target_host: bool) -> (bool, bool) {
        let mut preset = Preset::built_in("materialize").unwrap();
        let address = Address::parse_in(url, &|_| None).unwrap();
        let address = if at_the_target_host { address.on_this_host() } else { address };
        let left_out = leave_out_other_hosts(&mut preset, &address);
        let kept = (preset.connect.internal.is_some(), preset.connect.metrics.is_some());
        assert_eq!(left_out, kept == (false, false));
        kept
    }

    #[test]
    fn of_another_host_the_presets_addresses_are_not_used_even_at_its_own_port() {
        for host in ["db1.example", "192.0.2.1", "[2001:db8::1]"] {
            let url = format!("postgres://materialize@{host}:6875/materialize");
            assert_eq!(kept(&url, false), (false, false), "{host}");
            assert_eq!(kept(&url, true), (true, true), "--target-host says that {host} is the preset's own localhost");
        }
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(kept(&format!("postgres://me@{host}:6975/db"), false), (true, true), "{host}");
        }
        assert_eq!(kept("postgres:///db?host=/run/mz&user=me", false), (true, true));
    }

    #[test]
    fn a_preset_of_another_hosts_keeps_its_addresses_for_that_host_alone() {
        let mut preset = Preset::built_in("materialize").unwrap();
        preset.connect.url = Some("postgres://me@db1.example:6875/db".into());
        let to = |host: &str| Address::parse_in(&format!("postgres://me@{host}:6875/db"), &|_| None).unwrap();
        assert!(!leave_out_other_hosts(&mut preset.clone(), &to("DB1.example")));
        assert!(!leave_out_other_hosts(&mut preset.clone(), &to("db1.example").on_this_host()));
        assert!(leave_out_other_hosts(&mut preset.clone(), &to("localhost")));
        preset.connect.url = None;
        assert!(!leave_out_other_hosts(&mut preset, &to("localhost")), "there is no other host to tell");
    }

    #[test]
    fn a_set_up_that_would_go_to_another_host_is_refused_and_metrics_that_would_come_from_there_are_noted() {
        let settled = |change: &dyn Fn(&mut Request)| {
            let mut request = Request::example(Preset::built_in("materialize").unwrap());
            change(&mut request);
            let address = Address::parse_in("postgres://me@192.0.2.1:6875/db", &|_| None).unwrap();
            let mut notes = Vec::new();
            settle(&mut request, &address, &mut notes).map(|()| notes).map_err(|error| error.to_string())
        };
        let refused = settled(&|request| request.target.setup = true).unwrap_err();
        assert!(refused.contains("--internal-url, or --no-setup") && refused.contains("another host"), "{refused}");
        let given = |request: &mut Request| {
            request.target.setup = true;
            request.target.internal_url = Some("postgres://mz_system@192.0.2.1:6877/db".into());
        };
        assert!(settled(&given).unwrap()[0].contains("give this server's with --metrics-url"));
        let foreign = |request: &mut Request| {
            request.target.setup = true;
            request.load.driver = DriverChoice::Foreign { clients: None };
        };
        assert_eq!(settled(&foreign).unwrap().len(), 1, "nothing is sent");
        assert_eq!(settled(&|request| request.observe.no_metrics = true).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn only_steps_that_are_run_need_the_administrator() {
        let step = |text: &str| vec![toml::from_str::<Step>(text).unwrap()];
        let own = step("on = 'internal'\nstatement = 's'\nfor_own_query = true");
        assert!(needs_administrator(&own, true) && !needs_administrator(&own, false));
        assert!(needs_administrator(&step("on = 'internal'\nparameter = 'p'\nvalue = 'v'"), false));
        assert!(!needs_administrator(&step("statement = 's'"), true));
        assert!(!needs_administrator(&step("on = 'internal'\nstatement = 's'\nonly_with_previous = true"), true));
    }
}
