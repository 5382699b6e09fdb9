//! Which host, as users write it: `ssh://[user@]host[:port]`. Invariant: nothing in it can be taken for an option of
//! ssh or for shell syntax, and it holds no password.

use std::fmt;
use std::str::FromStr;

/// A host that ssh reaches: a name of DNS or of the user's ssh configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `None`: the one of ssh's configuration.
    pub user: Option<String>,
    /// As ssh is told it.
    pub name: String,
    /// `None`: the one of ssh's configuration.
    pub port: Option<u16>,
}

/// Why a text names no host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}; write ssh://[USER@]HOST[:PORT]")]
pub struct BadHost {
    text: String,
    why: &'static str,
}

impl FromStr for Host {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Host, BadHost> {
        let bad = |why| BadHost { text: text.into(), why };
        let Some(rest) = text.strip_prefix("ssh://") else { return Err(bad("does not begin with ssh://")) };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            let text = format!("ssh://...@{place}");
            return Err(BadHost { text, why: "has a password, and ssh takes none: use a key or an agent" });
        }
        let (name, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, "")) => (name, None),
            Some((name, port)) => (name, Some(port.strip_prefix(':').ok_or_else(|| bad("has no port behind it"))?)),
            None => place.rsplit_once(':').map_or((place, None), |(name, port)| (name, Some(port))),
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0)).map(|port| {
            let why = "has a port that is not from 1 to 65535";
            port.ok_or_else(|| bad(why))
        });
        let plain = |word: &str| {
            let allowed = |c: char| c.is_alphanumeric() || "._-:%".contains(c);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(allowed)
        };
        if !plain(name) || user.is_some_and(|user| !plain(user)) {
            return Err(bad("names no host"));
        }
        Ok(Host { user: user.map(String::from), name: name.into(), port: port.transpose()? })
    }
}

/// As [`Host::from_str`] reads it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.name.contains(':') {
            true => write!(f, "[{}]", self.name)?,
            false => f.write_str(&self.name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_it_is_shown() {
        for (text, user, name, port) in [
            ("ssh://db1", None, "db1", None),
            ("ssh://me@db1.example.org:2222", Some("me"), "db1.example.org", Some(2222)),
            ("ssh://[fe80::1%eth0]:22", None, "fe80::1%eth0", Some(22)),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.user.as_deref(), host.name.as_str(), host.port), (user, name, port), "{text}");
            assert_eq!(host.to_string(), text);
        }
        assert_eq!("ssh://db1/".parse::<Host>().unwrap().name, "db1");
    }

    #[test]
    fn what_ssh_or_a_shell_would_take_for_something_else_is_no_host_and_a_password_is_not_shown() {
        for text in [
            "db1",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a b",
            "ssh://$(x)",
            "ssh://a:0",
            "ssh://a:x",
            "ssh://-l@a",
            "ssh://a;b",
            "ssh://[a]b",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        let error = "ssh://me:geheim@db1".parse::<Host>().unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("geheim"), "{error}");
    }
}
