//! A server's address: all settings of a connection, understood. Invariant: it holds the password and never shows it;
//! [`Address::shown`] is rebuilt from what was understood.

use super::encryption::Encryption;
use super::passfile::{self, Lookup};
use super::settings::{Settings, Variable};
use super::shown::shown_address;
use super::{Endpoint, Secret, SettingError, os_user};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// libpq waits without end where it is told to wait 0 s.
const ENDLESS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where to connect, as whom, and how.
#[derive(Clone)]
pub struct Address {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// What is asked of TLS.
    pub encryption: Encryption,
    /// Role to log in as; where nothing names one, the role that has the name of this process's user.
    pub user: String,
    /// Database to connect to; where nothing names one, the database that has the user's name.
    pub database: String,
    /// `application_name` that the server is told; `wireprof` where nothing names one.
    pub application: String,
    /// Command-line options for the server's session.
    pub options: Option<String>,
    /// `None`: the caller's own limit.
    pub timeout: Option<Duration>,
    /// Time after which unacknowledged bytes end the connection.
    pub tcp_timeout: Option<Duration>,
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    lookup: Lookup,
    here: bool,
}

/// TCP keepalive; `None`: the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; `None`: the system's.
    pub idle: Option<Duration>,
    /// Time between two probes; `None`: the system's.
    pub interval: Option<Duration>,
    /// Unanswered probes that end the connection; `None`: the system's.
    pub count: Option<u32>,
}

impl Address {
    /// Parses an address, with what it leaves out from the service file, the environment and the password file.
    ///
    /// # Errors
    /// A setting that is malformed, unknown or not supported, or contradicts another; a file that is named
    /// and not there. The text shows no password.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        Self::parse_in(text, &|name| match name {
            "HOME" => std::env::home_dir().map(|home| home.display().to_string()),
            name => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        })
    }

    /// As [`Address::parse`], with an environment of the caller's.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse_in(text: &str, variable: Variable) -> Result<Self, SettingError> {
        let settings = Settings::gather(text, variable)?;
        let endpoint = Endpoint::of(&settings)?;
        let encryption = Encryption::of(&settings, matches!(endpoint, Endpoint::Tcp { .. }))?;
        let user = match settings.get("user") {
            Some(user) => user.to_string(),
            None => os_user::name().ok_or_else(|| {
                SettingError("this process's user has no name; give user in the URL, or PGUSER".into())
            })?,
        };
        let database = settings.get("dbname").map_or_else(|| user.clone(), String::from);
        let lookup = passfile::find(&settings, &endpoint, &database, &user);
        let application = settings.get("application_name").or(settings.get("fallback_application_name"));
        Ok(Address {
            application: application.unwrap_or("wireprof").into(),
            options: options(&settings),
            timeout: timeout(&settings)?,
            tcp_timeout: positive(&settings, "tcp_user_timeout")?.map(|n| Duration::from_millis(n.into())),
            keepalive: keepalive(&settings)?,
            endpoint,
            encryption,
            user,
            database,
            lookup,
            here: false,
        })
    }

    /// The same server, which is on this host whatever its name is here.
    pub fn on_this_host(self) -> Address {
        Address { here: true, ..self }
    }

    /// Whether each host has a server of its own at this address: a loopback address, or a Unix socket.
    pub fn is_loopback(&self) -> bool {
        match &self.endpoint {
            Endpoint::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Endpoint::Unix { .. } => true,
        }
    }

    /// The TCP port, where the host is this one: by its name, by an address that it has itself, or by
    /// [`Address::on_this_host`]; `None` for other hosts and Unix sockets.
    pub fn local_port(&self) -> Option<u16> {
        match &self.endpoint {
            Endpoint::Tcp { port, .. } => self.is_on_this_host().then_some(*port),
            Endpoint::Unix { .. } => None,
        }
    }

    /// The addresses of this host that a connection goes to, in the order in which they are tried; empty where that is
    /// not known: for other hosts, for a name that only others know this host by, and for Unix sockets.
    pub fn local_addresses(&self) -> Vec<IpAddr> {
        let Endpoint::Tcp { host, .. } = &self.endpoint else { return Vec::new() };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Vec::from_iter((address.is_loopback() || is_own(host)).then_some(address));
        }
        if self.here || !self.is_on_this_host() {
            return Vec::new();
        }
        let found = (host.as_str(), self.port()).to_socket_addrs().map(|found| found.map(|at| at.ip()).collect());
        found.unwrap_or_default()
    }

    fn is_on_this_host(&self) -> bool {
        match &self.endpoint {
            Endpoint::Tcp { host, .. } => self.here || self.is_loopback() || is_own(host),
            Endpoint::Unix { .. } => true,
        }
    }

    /// Whether the other server is on the same host: the hosts have one name, or both are this one. Names are not
    /// looked up.
    pub fn is_on_the_host_of(&self, other: &Address) -> bool {
        self.endpoint.has_the_host_of(&other.endpoint) || self.is_on_this_host() && other.is_on_this_host()
    }

    /// The port that was given, or 5432; a Unix socket has it in its name.
    pub fn port(&self) -> u16 {
        self.endpoint.port()
    }

    /// The Unix socket, as `/proc/net/unix` names it; `None` for TCP.
    pub fn socket(&self) -> Option<PathBuf> {
        self.endpoint.socket()
    }

    /// `postgres://user@host:port/database`, without the password; [`Address::parse`] takes it back.
    pub fn shown(&self) -> String {
        shown_address(self)
    }

    /// `host:port` or the socket's path.
    pub fn at(&self) -> String {
        self.endpoint.at()
    }

    /// What the server may ask for.
    pub fn password(&self) -> Option<&Secret> {
        self.lookup.password.as_ref()
    }

    /// Where the password comes from; meaningless without one.
    pub fn password_from(&self) -> &str {
        &self.lookup.from
    }

    /// The password file that was, or would be, looked into, and why it was left alone.
    pub fn passfile(&self) -> (PathBuf, Option<String>) {
        (self.lookup.passfile.clone(), self.lookup.ignored.clone())
    }

    /// What libpq would warn of: a password file that was left alone.
    pub fn warning(&self) -> Option<String> {
        let (file, ignored) = self.passfile();
        Some(format!("password file {} {}", file.display(), ignored?))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown()).finish()
    }
}

/// Whether this host has the address, or has this name. Names are not asked for elsewhere: that may hang.
fn is_own(host: &str) -> bool {
    let Ok(address) = host.parse::<IpAddr>() else { return own_name().is_some_and(|name| name == host) };
    // To an address of its own a host sends from that very address. Connecting a datagram socket tells from which, and
    // sends nothing (connect(2), ip(7)).
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    address.is_unspecified() || from.is_ok_and(|from| from.ip() == address)
}

fn own_name() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_string())
}

/// The session's options, with those that libpq takes from variables of their own in front, so that the string's count.
fn options(settings: &Settings) -> Option<String> {
    let variables = [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")];
    let own = variables.into_iter().filter_map(|(variable, name)| {
        let value = (settings.variable)(variable).filter(|value| !value.is_empty() && value != "default")?;
        Some(format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ ")))
    });
    let all: Vec<String> = own.chain(settings.get("options").map(String::from)).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

fn timeout(settings: &Settings) -> Result<Option<Duration>, SettingError> {
    Ok(settings.number("connect_timeout")?.map(|seconds| match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => ENDLESS,
    }))
}

/// A number above 0; others leave the choice to the system.
fn positive(settings: &Settings, name: &str) -> Result<Option<u32>, SettingError> {
    Ok(settings.number(name)?.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0))
}

fn keepalive(settings: &Settings) -> Result<Option<Keepalive>, SettingError> {
    let wanted = settings.number("keepalives")?.unwrap_or(1) != 0;
    let seconds = |name: &str| Ok(positive(settings, name)?.map(|n| Duration::from_secs(n.into())));
    let keepalive = Keepalive {
        idle: seconds("keepalives_idle")?,
        interval: seconds("keepalives_interval")?,
        count: positive(settings, "keepalives_count")?,
    };
    Ok(wanted.then_some(keepalive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::TlsMode;

    fn parse(text: &str) -> Result<Address, SettingError> {
        Address::parse_in(text, &|_| None)
    }

    #[test]
    fn urls_and_key_value_strings_name_the_same_things() {
        for text in [
            "postgres://me:secret@db:6875/app?sslmode=require",
            "postgresql://me:secret@db:6875/app?sslmode=require",
            "host=db port=6875 user=me password='secret' dbname=app sslmode=require",
            "postgres:///?host=db&port=6875&user=me&pass%77ord=secret&dbname=app&sslmode=require",
        ] {
            let address = parse(text).unwrap();
            assert_eq!(address.shown(), "postgres://me@db:6875/app");
            assert_eq!(address.password().unwrap().expose(), b"secret");
            assert_eq!(address.encryption.mode, TlsMode::Require);
            assert!(!format!("{address:?}").contains("secret"));
        }
    }

    #[test]
    fn a_server_is_on_this_host_by_any_address_or_name_that_the_host_has() {
        let port = |host: &str| parse(&format!("host={host} port=6875")).unwrap().local_port();
        let mut own = vec!["127.0.0.1".to_string(), "127.3.2.1".into(), "localhost".into(), "0.0.0.0".into()];
        own.extend(own_name());
        // The address by which this host would speak to others, where it speaks to any: nothing is sent.
        let others = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket));
        own.extend(others.and_then(|socket| socket.local_addr()).map(|from| from.ip().to_string()));
        for host in own {
            assert_eq!(port(&host), Some(6875), "{host}");
        }
        // For documentation only (RFC 5737, RFC 3849).
        for host in ["192.0.2.1", "2001:db8::1", "db.example"] {
            assert_eq!(port(host), None, "{host}");
        }
    }

    #[test]
    fn where_a_connection_goes_on_this_host_is_known_unless_the_name_is_only_others() {
        let to = |host: &str| parse(&format!("host={host} port=6875")).unwrap();
        for (host, expected) in [("127.3.2.1", "127.3.2.1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "127.0.0.1")] {
            let expected: IpAddr = expected.parse().unwrap();
            assert!(to(host).local_addresses().contains(&expected), "{host}");
        }
        for host in ["192.0.2.1", "db.example", "/run/pg"] {
            assert_eq!(to(host).local_addresses(), [] as [IpAddr; 0], "{host}");
            assert_eq!(to(host).on_this_host().local_addresses(), [] as [IpAddr; 0], "{host}");
        }
    }

    #[test]
    fn what_is_left_out_has_libpqs_defaults() {
        let user = os_user::name().unwrap();
        let address = parse("postgres://localhost").unwrap();
        assert_eq!(address.shown(), format!("postgres://{user}@localhost:5432/{user}"));
        assert_eq!(address.encryption.mode, TlsMode::Prefer);
        assert_eq!((address.timeout, address.keepalive), (None, Some(Keepalive::default())));
        let directory = crate::connection::endpoint::default_directory().to_string();
        assert_eq!(parse("postgres://").unwrap().endpoint, Endpoint::Unix { directory, port: 5432 });
    }

    #[test]
    fn every_place_is_understood_and_shown_as_it_can_be_parsed_again() {
        let abstract_socket = "postgres:///app?host=%40pg&port=6000&user=me";
        for (text, at, shown) in [
            ("postgres://me@[::1]:7/db", "[::1]:7", "postgres://me@[::1]:7/db"),
            ("host=::1 port=7 user=me dbname=db", "[::1]:7", "postgres://me@[::1]:7/db"),
            ("postgres://me@[fe80::1%25lo]:7/db", "[fe80::1%lo]:7", "postgres://me@[fe80::1%25lo]:7/db"),
            ("postgres://a%20b@h/%2Fd?port=1", "h:1", "postgres://a%20b@h:1/%2Fd"),
            ("hostaddr=127.0.0.1 user=me", "127.0.0.1:5432", "postgres://me@127.0.0.1:5432/me"),
            ("host=h hostaddr=::1 user=me", "h:5432", "postgres://me@h:5432/me?hostaddr=::1"),
            (
                "postgres://me@:6000/app?host=/run/pg",
                "/run/pg/.s.PGSQL.6000",
                "postgres:///app?host=/run/pg&port=6000&user=me",
            ),
            ("postgres://me@%40pg:6000/app", "@pg/.s.PGSQL.6000", abstract_socket),
        ] {
            let address = parse(text).unwrap();
            assert_eq!((address.at().as_str(), address.shown().as_str()), (at, shown), "{text}");
            assert_eq!(parse(shown).unwrap().endpoint, address.endpoint);
        }
        assert_eq!(parse(abstract_socket).unwrap().socket(), Some("@pg/.s.PGSQL.6000".into()));
    }

    #[test]
    fn the_environment_fills_in_what_is_left_out() {
        let variable = |name: &str| {
            let value = match name {
                "PGHOST" => "127.0.0.1",
                "PGPORT" => "7",
                "PGDATABASE" => "db",
                "PGUSER" => "me",
                "PGAPPNAME" => "app",
                "PGOPTIONS" => "-c a=b",
                "PGTZ" => "a b",
                "PGCONNECT_TIMEOUT" => "3",
                _ => return None,
            };
            Some(value.to_string())
        };
        let address = Address::parse_in("postgres://", &variable).unwrap();
        assert_eq!(address.shown(), "postgres://me@127.0.0.1:7/db");
        assert_eq!((address.application.as_str(), address.timeout), ("app", Some(Duration::from_secs(3))));
        assert_eq!(address.options.as_deref(), Some("-c timezone=a\\ b -c a=b"));
        assert_eq!(Address::parse_in("postgres://h", &variable).unwrap().shown(), "postgres://me@h:7/db");
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, expected) in [
            ("postgres://a,b/", "host names several servers"),
            ("postgres://a:1,b:2/", "host names several servers"),
            ("host=a port=1,2", "port names several servers"),
            ("postgres://h/?sslnegotiation=direct&sslmode=require", "sslnegotiation=direct is not supported"),
            ("nonsense", "`nonsense` is neither a URL nor key=value pairs; "),
            ("postgres://h/?no=1", "the server's address is not understood: "),
            ("host=h port=0", "port is not from 1 to 65535"),
            ("host=h port=S3CR", "port is no whole number"),
            ("hostaddr=localhost", "hostaddr is no IP address"),
            ("host=h keepalives=on", "keepalives is no whole number"),
            ("host=h connect_timeout=1s", "connect_timeout is no whole number"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected) && !message.contains("S3CR"), "{text}: {message}");
        }
    }
}
