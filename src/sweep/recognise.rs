//! Choosing the preset of a server that the user names by its address alone: it is asked what it is. Invariant: a
//! preset that nobody named changes nothing on the server, and what it was chosen by is told.

use super::listens;
use crate::load::{self, Address};
use crate::preset::{Greeting, Preset, Witness, recognise, recognise_process, told_parameters};
use crate::sql;
use crate::target::{comm, executable_name};
use anyhow::{Context, Result};
use std::time::Duration;

/// For the server's answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A preset that the user did not name, and why it is that one, as the end of a sentence.
pub struct Chosen {
    /// The preset, without what would change the server.
    pub preset: Preset,
    /// Why, and what of it is left out.
    pub because: String,
}

impl Chosen {
    /// Which preset, and why.
    pub fn sentence(&self) -> String {
        format!("preset {}, because {}", self.preset.name, self.because)
    }
}

/// Asks the server at the address what it is.
///
/// # Errors
/// Nobody answers there, or refuses this user: with the cause and the remedy.
pub async fn ask(address: &Address, pid: Option<u32>) -> Result<Chosen> {
    // Refusals are explained best by the load's own connection.
    tokio::task::block_in_place(|| load::check(address))?;
    let asked = tokio::time::timeout(LIMIT, greeting(address)).await;
    let greeting = asked.context("the server did not say within 10 s what it is; name its preset with --preset")??;
    let (preset, because) = recognise(&greeting, witness(address, pid).as_ref())?;
    Ok(harmless(preset, because, address)?)
}

/// Tells the preset by the name of the process that listens at the address: nothing is sent to the server.
///
/// # Errors
/// A preset that is compiled in and cannot be read.
pub fn look(address: &Address, pid: Option<u32>) -> Result<Chosen> {
    let (preset, because) = match witness(address, pid) {
        Some(process) => recognise_process(&process)?,
        None => (Preset::built_in("generic")?, "the process that listens is not known".into()),
    };
    Ok(harmless(preset, because, address)?)
}

async fn greeting(address: &Address) -> Result<Greeting> {
    let (client, parameters) = load::connect_told(address, &told_parameters()?).await?;
    // A server that does not know the function has told parameters all the same.
    let version = sql::first_value(&client, "SELECT version()").await.ok().flatten();
    Ok(Greeting { version, parameters })
}

/// The process given, else the one that listens.
fn witness(address: &Address, pid: Option<u32>) -> Option<Witness> {
    let pid = pid.or_else(|| listens(address)?.1.ok())?;
    let names: Vec<String> = comm(pid, pid).into_iter().chain(executable_name(pid)).collect();
    (!names.is_empty()).then_some(Witness { pid, names })
}

/// Without the set-up, and without what is the preset's only at its own port. What it has for another host is left out
/// where the measurement is prepared, as with a preset that is named: the server's host may be `--target-host`'s.
fn harmless(mut preset: Preset, mut because: String, address: &Address) -> Result<Chosen, crate::preset::PresetError> {
    if !preset.setup.is_empty() {
        because += &format!("; its set-up is left out, --preset {} does it", preset.name);
        preset.setup.clear();
        // What the set-up would have made may not be there.
        preset.workload.query = Preset::built_in("generic")?.workload.query;
    }
    let own = preset.connect.url.as_ref().and_then(|url| Address::parse(url).ok());
    if own.is_none_or(|own| own.port() != address.port()) {
        (preset.connect.metrics, preset.connect.internal) = (None, None);
    }
    Ok(Chosen { preset, because })
}
