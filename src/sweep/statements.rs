//! The database's statement statistics in a sweep: which are read, and having them reset. Invariant: whatever goes
//! wrong with them costs these numbers only, and is said.

use super::{QueryCounter, Request, Sources, note};
use crate::load::{self, Address, LoadError};
use crate::preset::Preset;
use crate::statements::{self, Reset, StatementSource};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// One reading may take this long; a cluster collects its statistics from all nodes.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the statistics are: the database that the user names, else the server itself, unless the preset says that they
/// are behind it. `None`: none are wanted.
pub fn statements_address(preset: &Preset, url: Option<&str>, address: &Address) -> Result<Option<Address>> {
    match (url, preset.statements.reader) {
        (Some(url), _) => Ok(Some(Address::parse(url)?)),
        (None, Some(_)) if preset.statements.behind != Some(true) => Ok(Some(address.clone())),
        (None, _) => Ok(None),
    }
}

/// Opens the preset's reader at an address; a preset without one leaves the choice to what the database is.
pub async fn open_reader(preset: &Preset, address: &Address) -> Result<Box<dyn StatementSource>> {
    let client = load::connect(address).await?;
    let reader = preset.statements.reader.unwrap_or_default();
    let opened = tokio::time::timeout(LIMIT, statements::open(reader, client, &address.shown())).await;
    Ok(opened.with_context(late)??)
}

/// Refuses to reset, or to count queries by, statistics that nobody reads.
///
/// # Errors
/// No database is named, by the user or by the preset.
pub(super) fn check_statements(request: &Request, address: &Address, counter: Option<&QueryCounter>) -> Result<()> {
    let observe = &request.observe;
    let counted = matches!(counter, Some(QueryCounter::Statements(_)));
    let option = if counted { "--divisor statements()" } else { "--reset-statements" };
    if !counted && !observe.reset_statements {
        return Ok(());
    }
    let wanted = statements_address(&request.preset, observe.statements_url.as_deref(), address)?;
    if wanted.is_none() || observe.no_statements {
        bail!(LoadError::Usage(format!("{option}: whose? give --statements-url")));
    }
    Ok(())
}

pub(super) async fn open_statements(
    request: &Request,
    address: &Address,
    notes: &mut Vec<String>,
) -> Option<Box<dyn StatementSource>> {
    if request.observe.no_statements {
        return None;
    }
    let open = async {
        match statements_address(&request.preset, request.observe.statements_url.as_deref(), address)? {
            Some(address) => open_reader(&request.preset, &address).await.map(Some),
            None if request.preset.statements.reader.is_some() => {
                notes.push(
                    "statement statistics were not read: they are in the database behind the server; name it with \
                     --statements-url"
                        .into(),
                );
                Ok(None)
            }
            None => Ok(None),
        }
    };
    let opened = open.await;
    opened.unwrap_or_else(|error| {
        notes.push(format!("statement statistics were not read: {error:#}"));
        None
    })
}

/// All statements as they stand now.
pub(super) async fn read(source: &dyn StatementSource) -> Result<statements::StatementsSnapshot> {
    Ok(tokio::time::timeout(LIMIT, source.snapshot()).await.with_context(late)??)
}

/// Resets the statistics before a window, where that is wanted. A database that refuses or goes on counting is not
/// asked again, and the run's notes say so: each window is a difference all the same.
pub(super) async fn reset_before_window(sources: &mut Sources, notes: &mut Vec<String>) {
    let Some(source) = sources.statements.as_deref().filter(|_| sources.reset_statements) else { return };
    let outcome = tokio::time::timeout(LIMIT, statements::reset(source)).await;
    let why = match outcome.with_context(late).and_then(|reset| Ok(reset?)) {
        Ok(Reset::Done) => {
            note(notes, "statement statistics were reset before each window".into());
            return;
        }
        Ok(Reset::WithoutEffect { query }) => {
            let query: String = query.chars().take(80).collect();
            format!("the database answered, and `{query}` still has all its calls")
        }
        Err(error) => format!("{error:#}"),
    };
    sources.reset_statements = false;
    let said = "windows are differences of two readings all the same";
    note(notes, format!("statement statistics were not reset: {why}; {said}"));
}

fn late() -> String {
    format!("the database did not answer within {} s", LIMIT.as_secs())
}
