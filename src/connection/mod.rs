//! Connection settings: where a server is, as whom to connect, and how. A connection string, a service file and the
//! environment are read into one [`Address`], with libpq's meaning and precedence (PostgreSQL documentation, "Database
//! Connection Control Functions"). Invariants: a setting that wireprof does not follow is refused by its name, never
//! passed over; a secret leaves this room towards a server only, and what is shown is rebuilt from what was understood.

mod address;
mod authorities;
mod conninfo;
mod driver;
mod encryption;
mod endpoint;
mod keywords;
mod legible;
mod masking;
mod os_user;
mod passfile;
mod secret;
mod service;
mod settings;
mod shown;
mod uri;

pub use address::{Address, Keepalive};
pub use authorities::read_pem;
pub use encryption::{ClientCertificate, Encryption, Roots, TlsMode, Verify};
pub use endpoint::Endpoint;
pub use keywords::variables;
pub use legible::{legible, legible_arguments};
pub use masking::{message_without_secrets, shown_argument, shown_arguments, without_secrets, without_sql_secrets};
pub use secret::Secret;
pub use shown::{HIDDEN, shown_connection, shown_url};

use regex::Regex;
use std::sync::LazyLock;

/// A setting that is not understood or not supported; the text names it and the remedy, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

impl SettingError {
    /// What is wrong with the text of an address.
    fn syntax(cause: impl std::fmt::Display) -> Self {
        let form = "write postgres://USER@HOST:PORT/DATABASE, or host=... port=... user=... dbname=...";
        SettingError(format!("the server's address is not understood: {cause}; {form}"))
    }

    /// That a text has neither form; it is named, with what it lacks, where it can be a place only.
    fn no_form(text: &str) -> Self {
        static PLACE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^[a-z0-9.-]+(:\d+)?$").expect("constant pattern"));
        if PLACE.is_match(text) {
            let form = format!("write postgres://USER@{text}/DATABASE");
            return SettingError(format!("`{text}` is neither a URL nor key=value pairs; {form}"));
        }
        match text.split_once("://") {
            Some((scheme, _)) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase()) => {
                SettingError::syntax(format!("its scheme is `{scheme}`, not `postgres`"))
            }
            _ => SettingError::syntax("it is neither a URL nor key=value pairs"),
        }
    }
}
