//! The server's address: a URL or key=value string in libpq's manner. Invariant: the password is resolved here and
//! leaves only towards the server; [`Address::shown`] and `Debug` never hold it.

use super::LoadError;
use super::password::{self, Lookup};
use super::tls::Verify;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

/// Where to connect, as whom, and how.
#[derive(Clone)]
pub struct Address {
    config: Config,
    pub(super) endpoint: Endpoint,
    pub(super) verify: Verify,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) lookup: Lookup,
}

/// What the socket connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `name` is for TLS, `host` for the look-up; they differ with `hostaddr`.
    Tcp {
        name: String,
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Address {
    /// Parses an address and looks its password up in the environment and the password file.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        Self::parse_in(text, &|name| std::env::var(name).ok())
    }

    /// As [`Address::parse`], with an environment of the caller's.
    pub fn parse_in(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, LoadError> {
        let (rest, [mode, roots]) = take_parameters(text, ["sslmode", "sslrootcert"]);
        let mut config: Config = rest.parse().map_err(|cause: tokio_postgres::Error| {
            let cause = std::error::Error::source(&cause).map_or_else(|| cause.to_string(), |inner| inner.to_string());
            usage(format!("the server's address is not understood: {cause}; write postgres://user@host:port/database"))
        })?;
        let verify = tls_mode(&mut config, mode.as_deref(), roots, variable)?;
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            return Err(usage("sslnegotiation=direct is not supported; leave it out".into()));
        }
        let user = config.get_user().map(String::from).or_else(|| variable("PGUSER")).or_else(|| variable("USER"));
        let user = user.unwrap_or_else(|| "postgres".into());
        let database = config.get_dbname().map_or_else(|| user.clone(), String::from);
        let endpoint = endpoint(&config)?;
        let (host, port) = match &endpoint {
            Endpoint::Tcp { name, port, .. } => (name.clone(), *port),
            Endpoint::Unix(path) => {
                (path.parent().map_or_else(String::new, |d| d.display().to_string()), port(&config))
            }
        };
        let lookup = match config.get_password() {
            Some(password) => Lookup {
                password: Some(String::from_utf8_lossy(password).into_owned()),
                from: "the URL".into(),
                passfile: PathBuf::new(),
                ignored: None,
            },
            None => password::find(&host, port, &database, &user, variable),
        };
        config.user(&user).dbname(&database);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if let Some(password) = &lookup.password {
            config.password(password);
        }
        Ok(Address { config, endpoint, verify, user, database, lookup })
    }

    /// For tokio-postgres: the same server, user and password. It knows no `verify-full`; `require` stands in.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The TCP port, where the host is this one by its name; `None` for other hosts and Unix sockets.
    pub fn local_port(&self) -> Option<u16> {
        match &self.endpoint {
            Endpoint::Tcp { host, port, .. } => {
                let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
                (loopback || host == "localhost").then_some(*port)
            }
            Endpoint::Unix(_) => None,
        }
    }

    /// The Unix socket, by its path; `None` for TCP.
    pub fn socket(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Tcp { .. } => None,
            Endpoint::Unix(path) => Some(path),
        }
    }

    /// `postgres://user@host:port/database`, without the password.
    pub fn shown(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp { name, port, .. } => format!("postgres://{}@{name}:{port}/{}", self.user, self.database),
            Endpoint::Unix(path) => {
                let directory = path.parent().map_or_else(String::new, |d| d.display().to_string());
                let (user, database, port) = (&self.user, &self.database, port(&self.config));
                format!("postgres:///{database}?host={directory}&port={port}&user={user}")
            }
        }
    }

    /// A URL for Go's lib/pq, without the password. That library knows no `prefer`: plain then, as it would otherwise
    /// insist on TLS.
    pub(super) fn url_for_go(&self) -> String {
        let mode = match (&self.verify, self.config.get_ssl_mode()) {
            (Verify::Full { roots: Some(roots) }, _) => {
                format!("verify-full&sslrootcert={}", encode(&roots.display().to_string()))
            }
            (Verify::Full { roots: None }, _) => "verify-full".into(),
            (Verify::Nothing, SslMode::Require) => "require".into(),
            (Verify::Nothing, _) => "disable".into(),
        };
        let (user, database) = (encode(&self.user), encode(&self.database));
        let mut url = match &self.endpoint {
            Endpoint::Tcp { host, port, .. } if host.contains(':') => {
                format!("postgres://{user}@[{host}]:{port}/{database}?sslmode={mode}")
            }
            Endpoint::Tcp { name, port, .. } => format!("postgres://{user}@{name}:{port}/{database}?sslmode={mode}"),
            Endpoint::Unix(path) => {
                let directory = encode(&path.parent().map_or_else(String::new, |d| d.display().to_string()));
                let port = port(&self.config);
                format!("postgres:///{database}?host={directory}&port={port}&user={user}&sslmode=disable")
            }
        };
        if let Some(options) = self.config.get_options() {
            url.push_str(&format!("&options={}", encode(options)));
        }
        url
    }

    /// The password, for the environment of a child that connects to the same server.
    pub(super) fn password(&self) -> Option<&str> {
        self.lookup.password.as_deref()
    }

    /// `host:port` or the socket's path.
    pub(super) fn at(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp { name, port, .. } => format!("{name}:{port}"),
            Endpoint::Unix(path) => path.display().to_string(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown()).finish()
    }
}

/// Percent-encodes what has a meaning of its own in a URL.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

fn usage(message: String) -> LoadError {
    LoadError::Usage(message)
}

fn port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(5432)
}

fn endpoint(config: &Config) -> Result<Endpoint, LoadError> {
    if config.get_hosts().len() > 1 || config.get_hostaddrs().len() > 1 {
        return Err(usage("the address names several hosts, and a load goes to one; keep one of them".into()));
    }
    let port = port(config);
    let address = config.get_hostaddrs().first().map(|address| address.to_string());
    match (config.get_hosts().first(), address) {
        (Some(Host::Unix(directory)), None) => Ok(Endpoint::Unix(directory.join(format!(".s.PGSQL.{port}")))),
        (Some(Host::Tcp(name)), host) => {
            Ok(Endpoint::Tcp { name: name.clone(), host: host.unwrap_or_else(|| name.clone()), port })
        }
        (None, Some(host)) => Ok(Endpoint::Tcp { name: host.clone(), host, port }),
        (None, None) => Ok(Endpoint::Tcp { name: "localhost".into(), host: "localhost".into(), port }),
        (Some(Host::Unix(_)), Some(_)) => {
            Err(usage("the address has a socket's directory and a hostaddr; keep one of them".into()))
        }
    }
}

/// libpq's sslmode, of which tokio-postgres knows three.
fn tls_mode(
    config: &mut Config,
    mode: Option<&str>,
    roots: Option<String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Verify, LoadError> {
    let (mode, verify) = match mode.unwrap_or("prefer") {
        "disable" => (SslMode::Disable, false),
        "prefer" | "allow" => (SslMode::Prefer, false),
        "require" => (SslMode::Require, false),
        "verify-full" => (SslMode::Require, true),
        other => {
            let known = "disable, prefer, require or verify-full";
            return Err(usage(format!("sslmode={other} is not supported; write {known}")));
        }
    };
    config.ssl_mode(mode);
    let fallback = || variable("HOME").map(|home| PathBuf::from(home).join(".postgresql/root.crt"));
    let roots = roots.map(PathBuf::from).or_else(|| fallback().filter(|path| path.exists()));
    Ok(if verify { Verify::Full { roots } } else { Verify::Nothing })
}

/// Cuts parameters out of an address that its parser does not know; the last one of a name counts.
fn take_parameters<const N: usize>(text: &str, names: [&str; N]) -> (String, [Option<String>; N]) {
    let mut found = [const { None }; N];
    let mut keep = |pair: &str| {
        let Some((name, value)) = pair.split_once('=') else { return true };
        let Some(at) = names.iter().position(|n| *n == name.trim()) else { return true };
        found[at] = Some(value.trim().trim_matches('\'').replace("%2F", "/").replace("%2f", "/"));
        false
    };
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        match text.split_once('?') {
            None => text.to_string(),
            Some((head, query)) => {
                let kept: Vec<&str> = query.split('&').filter(|pair| keep(pair)).collect();
                if kept.is_empty() { head.to_string() } else { format!("{head}?{}", kept.join("&")) }
            }
        }
    } else {
        pairs(text).into_iter().filter(|pair| keep(pair)).collect::<Vec<_>>().join(" ")
    };
    (rest, found)
}

/// `a=b c='d e'` cut at the spaces outside quotes.
fn pairs(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                found.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.into_iter().filter(|pair| !pair.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, LoadError> {
        Address::parse_in(text, &|name| (name == "USER").then(|| "os".to_string()))
    }

    #[test]
    fn urls_and_key_value_strings_name_the_same_things() {
        for text in [
            "postgres://me:secret@db:6875/app?sslmode=require",
            "postgresql://me:secret@db:6875/app?sslmode=require",
            "host=db port=6875 user=me password='secret' dbname=app sslmode=require",
        ] {
            let address = parse(text).unwrap();
            assert_eq!(address.shown(), "postgres://me@db:6875/app");
            assert_eq!(address.password(), Some("secret"));
            assert_eq!(address.config().get_ssl_mode(), SslMode::Require);
            assert!(!format!("{address:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_left_out_has_libpqs_defaults() {
        let address = parse("postgres://localhost").unwrap();
        assert_eq!(address.shown(), "postgres://os@localhost:5432/os");
        assert_eq!(address.config().get_ssl_mode(), SslMode::Prefer);
        let socket = parse("postgres:///app?host=/run/pg&port=6000").unwrap();
        assert_eq!(socket.endpoint, Endpoint::Unix("/run/pg/.s.PGSQL.6000".into()));
        assert_eq!(socket.shown(), "postgres:///app?host=/run/pg&port=6000&user=os");
    }

    #[test]
    fn verify_full_is_understood_in_both_forms() {
        for text in
            ["postgres://h/?sslmode=verify-full&sslrootcert=%2Fx.crt", "host=h sslrootcert=/x.crt sslmode=verify-full"]
        {
            assert_eq!(parse(text).unwrap().verify, Verify::Full { roots: Some("/x.crt".into()) });
        }
    }

    #[test]
    fn the_url_for_dbbench_has_no_password_and_a_mode_that_it_knows() {
        let go = |text: &str| parse(text).unwrap().url_for_go();
        assert_eq!(go("postgres://me:secret@db:6875/app"), "postgres://me@db:6875/app?sslmode=disable");
        assert_eq!(go("postgres://a%20b@h/?sslmode=require"), "postgres://a%20b@h:5432/a%20b?sslmode=require");
        let socket = "postgres:///app?host=%2Frun%2Fpg&port=5432&user=os&sslmode=disable";
        assert_eq!(go("postgres:///app?host=/run/pg"), socket);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, expected) in [
            ("postgres://h/?sslmode=verify-ca", "sslmode=verify-ca is not supported; write disable"),
            ("postgres://a,b/", "the address names several hosts"),
            ("postgres://h/?sslnegotiation=direct&sslmode=require", "sslnegotiation=direct is not supported"),
            ("nonsense", "the server's address is not understood: "),
            ("postgres://h/?no=1", "the server's address is not understood: "),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }
}
