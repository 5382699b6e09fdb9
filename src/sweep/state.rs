//! What a measurement changes on the server, and its undoing. Invariant: whoever has changed something holds a
//! [`ServerState`] or the [`PresetState`] left of it, and every exit hands it to one of their methods; a refusal leaves
//! the server as it was.

use super::setup::{Applied, Connections, Session, apply, check_parameters, once_it_is_up, restore};
use super::{DriverChoice, Request, with_ends};
use crate::load::{self, Address};
use crate::sql;
use anyhow::{Context, Error, Result};
use std::time::Duration;

/// For each statement of a workload's script.
const SCRIPT_LIMIT: Duration = Duration::from_secs(60);

/// The server as the request wants it, and what puts it back.
pub struct ServerState {
    address: Address,
    /// `None`: the load is somebody else's, and nothing is sent.
    connections: Option<Connections>,
    /// What the preset's set-up changed.
    preset: Applied,
    /// What the request's own parameters changed.
    own: Applied,
    /// The workload's own undoing, once its set-up has run.
    teardown: Vec<String>,
}

/// What the preset's set-up changed on a server: it outlives the windows, unless the user or a failure has it put back.
pub struct PresetState {
    applied: Applied,
    connections: Connections,
}

impl ServerState {
    /// The preset's set-up, then the request's own parameters and the workload's script; nothing where the load is
    /// somebody else's.
    ///
    /// # Errors
    /// A step that fails; what was changed up to it has been put back.
    pub async fn bring(request: &Request, address: &Address) -> Result<ServerState> {
        let changes = request.target.setup && !request.preset.setup.is_empty() || !request.target.parameters.is_empty();
        let elsewhere = request.load.driver == DriverChoice::Elsewhere;
        let foreign = request.load.driver.is_foreign() || elsewhere && !changes;
        let mut state = ServerState {
            address: address.clone(),
            connections: if foreign { None } else { Some(connect(request, address).await?) },
            preset: Applied::default(),
            own: Applied::default(),
            teardown: Vec::new(),
        };
        match state.change(request).await {
            Ok(()) => Ok(state),
            Err(error) => Err(state.abandon(error).await),
        }
    }

    async fn change(&mut self, request: &Request) -> Result<()> {
        let Some(connections) = &self.connections else { return Ok(()) };
        if request.target.setup {
            let own_query = request.has_own_query();
            apply(&request.preset.setup, connections, own_query, &mut self.preset).await?;
        }
        apply(&request.target.parameters, connections, false, &mut self.own).await?;
        check_parameters(&request.target.parameters, connections).await?;
        let workload = &request.load.workload;
        script(&self.address, &workload.setup).context("the workload's set-up")?;
        // Not before: a script that failed half way may have met tables of the user's, which its undoing would drop.
        self.teardown.clone_from(&workload.teardown);
        Ok(())
    }

    /// What was changed, as `what: from -> to`.
    pub fn changes(&self) -> Vec<String> {
        [&self.preset, &self.own].iter().flat_map(|applied| applied.changes.iter().cloned()).collect()
    }

    /// The server's revision as it tells it; `None` where nothing is sent to it, or it does not answer.
    pub async fn version(&self) -> Option<String> {
        let client = self.connections.as_ref()?.sql.client();
        sql::first_value(client, "SELECT version()").await.ok()?
    }

    /// Puts everything back because of an error; what could not be put back is said with it.
    pub async fn abandon(self, error: Error) -> Error {
        let (preset, ended) = self.end().await;
        let back = match preset {
            Some(preset) => preset.put_back().await.map(drop),
            None => Ok(()),
        };
        with_ends(error, [ended, back])
    }

    /// After the windows: runs the workload's own undoing and puts the request's parameters back. What the preset
    /// changed is left to the caller.
    pub async fn end(self) -> (Option<PresetState>, Result<()>) {
        let ServerState { address, connections, preset, own, teardown } = self;
        let torn_down = once_it_is_up(async || script(&address, &teardown)).await.context("the workload's teardown");
        let Some(mut connections) = connections else { return (None, torn_down) };
        let back = restore(own, &mut connections).await;
        let left = (!preset.changes.is_empty()).then_some(PresetState { applied: preset, connections });
        let both = match (torn_down, back) {
            (Err(error), Err(more)) => Err(error.context(format!("{more:#}"))),
            (torn_down, back) => torn_down.and(back.map(drop)),
        };
        (left, both)
    }
}

impl PresetState {
    /// Puts back what the preset's set-up changed, last change first; gives the statements that did it.
    ///
    /// # Errors
    /// The first statement that failed; the others were run all the same.
    pub async fn put_back(mut self) -> Result<Vec<String>> {
        restore(self.applied, &mut self.connections).await
    }
}

fn script(address: &Address, statements: &[String]) -> Result<()> {
    Ok(tokio::task::block_in_place(|| load::run_script(address, statements, SCRIPT_LIMIT))?)
}

/// The connections that the changes need.
async fn connect(request: &Request, address: &Address) -> Result<Connections> {
    let sql = Session::open(address).await?;
    let set_up = request.target.setup && !request.preset.setup.is_empty();
    let needed = set_up || !request.target.parameters.is_empty();
    let url = request.target.internal_url.clone().or(request.preset.connect.internal.clone()).filter(|_| needed);
    let Some(url) = url else { return Ok(Connections { sql, internal: None }) };
    let internal = Address::parse(&url)?;
    let hint = "the administrator's connection for the set-up failed: correct --internal-url, or give --no-setup";
    tokio::task::block_in_place(|| load::check(&internal)).context(hint)?;
    Ok(Connections { sql, internal: Some(Session::open(&internal).await?) })
}
