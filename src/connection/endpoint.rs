//! What the socket connects to, by libpq's rules for host, hostaddr and port. Invariant: it is one place, which a URL
//! can name again as it is shown.

use super::SettingError;
use super::settings::Settings;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `name` is for TLS and the password file, `host` for the look-up; they differ with `hostaddr`.
    Tcp {
        /// Name of the host, or its address where only `hostaddr` is given.
        name: String,
        /// What is looked up: a name or an IP address.
        host: String,
        /// TCP port, 1 to 65535.
        port: u16,
    },
    /// The directory as it was given, `@` before an abstract one.
    Unix {
        /// The directory of the socket.
        directory: String,
        /// The number in the socket's name, `.s.PGSQL.PORT`.
        port: u16,
    },
}

impl Endpoint {
    /// Reads `host`, `hostaddr` and `port`; what is not given has libpq's default.
    ///
    /// # Errors
    /// Several servers, a port that is out of range, or a `hostaddr` that is no IP address.
    pub fn of(settings: &Settings) -> Result<Self, SettingError> {
        let several = |name: &str| {
            settings.wrong(name, "names several servers, and wireprof measures one; keep the one that is meant")
        };
        if let Some(name) =
            ["host", "hostaddr", "port"].into_iter().find(|name| settings.get(name).is_some_and(|v| v.contains(',')))
        {
            return Err(several(name));
        }
        let port = match settings.number("port")? {
            None => 5432,
            Some(number) => u16::try_from(number)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| settings.wrong("port", "is not from 1 to 65535; correct it"))?,
        };
        let host = settings.get("host");
        if let Some(address) = settings.get("hostaddr") {
            let parsed = address.parse::<IpAddr>();
            let address = parsed.map_err(|_| settings.wrong("hostaddr", "is no IP address; give a name as host"))?;
            let name = host.map_or_else(|| address.to_string(), String::from);
            return Ok(Endpoint::Tcp { name, host: address.to_string(), port });
        }
        Ok(match host {
            Some(path) if path.starts_with(['/', '@']) => Endpoint::Unix { directory: path.into(), port },
            Some(name) => Endpoint::Tcp { name: name.into(), host: name.into(), port },
            None => Endpoint::Unix { directory: default_directory().into(), port },
        })
    }

    /// The port that was given, or 5432; a Unix socket has it in its name.
    pub fn port(&self) -> u16 {
        match self {
            Endpoint::Tcp { port, .. } | Endpoint::Unix { port, .. } => *port,
        }
    }

    /// The socket as `/proc/net/unix` names it: a path, or `@` and an abstract name.
    pub fn socket(&self) -> Option<PathBuf> {
        match self {
            Endpoint::Tcp { .. } => None,
            Endpoint::Unix { directory, port } => Some(Path::new(directory).join(format!(".s.PGSQL.{port}"))),
        }
    }

    /// `host:port`, an IPv6 address in brackets, or the socket's path.
    pub fn at(&self) -> String {
        match self {
            Endpoint::Tcp { name, port, .. } => format!("{}:{port}", bracketed(name)),
            Endpoint::Unix { directory, port } => format!("{directory}/.s.PGSQL.{port}"),
        }
    }

    /// Whether both are on hosts of one name or address; of Unix sockets that is not said.
    pub fn has_the_host_of(&self, other: &Endpoint) -> bool {
        let same = |one: &str, other: &str| match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
            (Ok(one), Ok(other)) => one == other,
            _ => one.eq_ignore_ascii_case(other),
        };
        match (self, other) {
            (Endpoint::Tcp { name, host, .. }, Endpoint::Tcp { name: others, host: other, .. }) => {
                same(host, other) || same(name, others)
            }
            _ => false,
        }
    }

    /// The host's name in the password file.
    pub fn name_in_passfile(&self) -> &str {
        match self {
            Endpoint::Tcp { name, .. } => name,
            Endpoint::Unix { directory, .. } if directory == default_directory() => "localhost",
            Endpoint::Unix { directory, .. } => directory,
        }
    }
}

/// An IPv6 address in brackets, any other host as it is.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.into() }
}

/// libpq's compiled-in directory of sockets: Debian's and most packages' where it is there, else upstream's.
pub fn default_directory() -> &'static str {
    if Path::new("/var/run/postgresql").is_dir() { "/var/run/postgresql" } else { "/tmp" }
}
