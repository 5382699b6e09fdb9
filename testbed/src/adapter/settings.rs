//! Settings of the system and of sessions. Invariant: a name that is not in the list is refused, in a session as on the
//! internal port, because a misspelt setting that is accepted measures the wrong thing.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SqlError;

pub const FRONTEND_PEEK: &str = "enable_frontend_peek_sequencing";

/// Every setting there is, with its default.
const DEFAULTS: [(&str, &str); 24] = [
    (FRONTEND_PEEK, "off"),
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("cluster", "quickstart"),
    ("cluster_replica", ""),
    ("database", "materialize"),
    ("datestyle", "ISO, MDY"),
    ("emit_timestamp_notice", "off"),
    ("extra_float_digits", "3"),
    ("idle_in_transaction_session_timeout", "2 min"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("max_connections", "5000"),
    ("max_query_result_size", "1GB"),
    ("search_path", "public"),
    ("server_version", "15.0"),
    ("standard_conforming_strings", "on"),
    ("statement_logging_default_sample_rate", "1"),
    ("statement_logging_max_sample_rate", "0.99"),
    ("statement_logging_sample_rate", "0.1"),
    ("statement_timeout", "1 min"),
    ("timezone", "UTC"),
    ("transaction_isolation", "strict serializable"),
];

/// Accepts a name in any case; also the names that PostgreSQL spells otherwise.
fn canonical(name: &str) -> Result<&'static str, SqlError> {
    let lower = name.to_ascii_lowercase();
    let wanted = match lower.as_str() {
        "default_transaction_isolation" => "transaction_isolation",
        other => other,
    };
    let found = DEFAULTS.iter().find(|(known, _)| *known == wanted).map(|(known, _)| *known);
    found.ok_or_else(|| SqlError::new("42704", format!("unrecognized configuration parameter {name:?}")))
}

fn boolean(name: &str, value: &str) -> Result<bool, SqlError> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "1" | "yes" => Ok(true),
        "off" | "false" | "f" | "0" | "no" => Ok(false),
        _ => Err(SqlError::new("22023", format!("parameter {name:?} requires a \"boolean\" value"))),
    }
}

#[derive(Default)]
pub struct SystemSettings {
    values: RwLock<BTreeMap<&'static str, String>>,
    frontend_peek: AtomicBool,
}

impl SystemSettings {
    /// Whether peeks are sequenced in the frontend; read once a query.
    pub fn frontend_peek(&self) -> bool {
        self.frontend_peek.load(Ordering::Relaxed)
    }

    /// `None` returns to the default.
    pub fn set(&self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        let name = canonical(name)?;
        let mut values = self.values.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if name == FRONTEND_PEEK {
            let on = value.map(|value| boolean(name, value)).transpose()?.unwrap_or(false);
            self.frontend_peek.store(on, Ordering::Relaxed);
            values.insert(name, if on { "on" } else { "off" }.to_owned());
            return Ok(());
        }
        match value {
            Some(value) => values.insert(name, value.to_owned()),
            None => values.remove(name),
        };
        Ok(())
    }

    fn get(&self, name: &'static str) -> String {
        let values = self.values.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let default = || DEFAULTS.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value).to_owned();
        values.get(name).cloned().unwrap_or_else(default)
    }
}

/// One session's own values, over the system's.
#[derive(Default)]
pub struct SessionSettings {
    values: RwLock<BTreeMap<&'static str, String>>,
    serializable: AtomicBool,
}

impl SessionSettings {
    /// True if reads of this session need no timestamp from the oracle.
    pub fn is_serializable(&self) -> bool {
        self.serializable.load(Ordering::Relaxed)
    }

    /// `None` returns to the system's value.
    pub fn set(&self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        let name = canonical(name)?;
        if name == "transaction_isolation" {
            self.serializable.store(is_serializable(value)?, Ordering::Relaxed);
        }
        let mut values = self.values.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        match value {
            Some(value) => values.insert(name, value.to_owned()),
            None => values.remove(name),
        };
        Ok(())
    }

    pub fn reset_all(&self) {
        self.values.write().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        self.serializable.store(false, Ordering::Relaxed);
    }

    /// The canonical name and the value in force.
    pub fn show(&self, name: &str, system: &SystemSettings) -> Result<(&'static str, String), SqlError> {
        let name = canonical(name)?;
        let values = self.values.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((name, values.get(name).cloned().unwrap_or_else(|| system.get(name))))
    }
}

fn is_serializable(value: Option<&str>) -> Result<bool, SqlError> {
    let Some(value) = value else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "strict serializable" => Ok(false),
        "serializable" => Ok(true),
        _ => Err(SqlError::new(
            "22023",
            format!("invalid value for \"transaction_isolation\": {value:?}; use serializable or strict serializable"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_sees_its_own_value_then_the_systems_then_the_default() {
        let (system, session) = (SystemSettings::default(), SessionSettings::default());
        let shown = |name: &str| session.show(name, &system).unwrap().1;
        assert_eq!(shown("max_connections"), "5000");
        system.set("Max_Connections", Some("7")).unwrap();
        assert_eq!(shown("max_connections"), "7");
        session.set("max_connections", Some("9")).unwrap();
        assert_eq!(shown("max_connections"), "9");
    }

    #[test]
    fn misspelt_names_and_values_are_refused() {
        let (system, session) = (SystemSettings::default(), SessionSettings::default());
        assert_eq!(system.set("enable_frontend_peek", Some("on")).unwrap_err().code, "42704");
        assert_eq!(system.set(FRONTEND_PEEK, Some("perhaps")).unwrap_err().code, "22023");
        assert_eq!(session.set("transaction_isolation", Some("snapshot")).unwrap_err().code, "22023");
        assert!(!system.frontend_peek() && !session.is_serializable());
    }
}
