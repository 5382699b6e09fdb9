//! Connection URLs, cut as libpq's `conninfo_uri_parse` cuts them. Invariant: every part is percent-decoded once, names
//! included, and a damaged escape is refused wherever it stands.

use super::SettingError;
use super::conninfo::{Pairs, nameable};
use percent_encoding::percent_decode_str;

/// What follows the scheme; `None`: it is no URL of a server.
pub fn rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Parses what follows the scheme: `[user[:password]@][host[:port][,...]][/database][?name=value[&...]]`.
///
/// # Errors
/// A damaged percent escape, a part that cannot be cut, or an `@` in the database's name.
pub fn parse(rest: &str) -> Result<Pairs, SettingError> {
    let mut pairs = Pairs::new();
    let mut keep = |name: &str, value: &str| -> Result<(), SettingError> {
        if !value.is_empty() {
            pairs.push((name.into(), decode(value)?));
        }
        Ok(())
    };
    let credentials = rest.find(['@', '/']).filter(|at| rest.as_bytes()[*at] == b'@');
    if let Some(at) = credentials {
        let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
        keep("user", user)?;
        keep("password", password)?;
    }
    let rest = &rest[credentials.map_or(0, |at| at + 1)..];
    let (hosts, ports, rest) = places(rest)?;
    keep("host", &hosts)?;
    // A list of nothing but commas is a list, too.
    keep("port", &ports)?;
    let (database, query) = match rest.split_once('?') {
        Some((database, query)) => (database, query),
        None => (rest, ""),
    };
    let database = database.strip_prefix('/').unwrap_or(database);
    if database.contains('@') {
        // libpq takes it as a part of the name. It is the rest of a password with a `/` in it far more often.
        return Err(SettingError::syntax(
            "an `@` stands behind the host: write `/` as %2F and `@` as %40 in a password",
        ));
    }
    keep("dbname", database)?;
    for pair in query.split_terminator('&') {
        let (name, value) = parameter(pair, &pairs)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Hosts and ports, each joined by commas, and what follows them.
fn places(mut rest: &str) -> Result<(String, String, &str), SettingError> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    loop {
        let host;
        if let Some(inside) = rest.strip_prefix('[') {
            let (address, behind) = inside.split_once(']').ok_or_else(|| SettingError::syntax("`]` is missing"))?;
            if address.is_empty() || !(behind.is_empty() || behind.starts_with([':', '/', '?', ','])) {
                return Err(SettingError::syntax("an IPv6 address in brackets is empty or followed by no `:` or `/`"));
            }
            (host, rest) = (address, behind);
        } else {
            (host, rest) = rest.split_at(rest.find([':', '/', '?', ',']).unwrap_or(rest.len()));
        }
        if host.contains('@') {
            return Err(SettingError::syntax("more than one `@`: write it as %40 in a user or password"));
        }
        hosts.push_str(host);
        if let Some(behind) = rest.strip_prefix(':') {
            let (port, behind) = behind.split_at(behind.find(['/', '?', ',']).unwrap_or(behind.len()));
            ports.push_str(port);
            rest = behind;
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((hosts, ports, rest)),
        }
        hosts.push(',');
        ports.push(',');
    }
}

fn parameter(pair: &str, before: &Pairs) -> Result<(String, String), SettingError> {
    let named = |name: &str| nameable(name, before).map_or("a parameter".into(), |name| format!("`{name}`"));
    let Some((name, value)) = pair.split_once('=') else {
        return Err(SettingError::syntax(format!("no `=` follows {} of the URL", named(pair))));
    };
    if value.contains('=') {
        return Err(SettingError::syntax(format!("{} of the URL has a second `=`: write it as %3D", named(name))));
    }
    match (decode(name)?, decode(value)?) {
        // As JDBC has it.
        (name, value) if name == "ssl" && value == "true" => Ok(("sslmode".into(), "require".into())),
        pair => Ok(pair),
    }
}

fn decode(text: &str) -> Result<String, SettingError> {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    for (at, _) in escapes {
        if !hex(bytes.get(at + 1)) || !hex(bytes.get(at + 2)) || bytes[at + 1..at + 3] == *b"00" {
            let what =
                "a percent escape of the URL is damaged: `%` and two hexadecimal digits, not 00; `%` itself is %25";
            return Err(SettingError::syntax(what));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| SettingError::syntax("a percent escape of the URL is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> String {
        let pairs = parse(rest(url).unwrap()).unwrap();
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// Most are of PostgreSQL's src/interfaces/libpq/t/001_uri.pl.
    #[test]
    fn urls_are_cut_as_libpq_cuts_them() {
        for (url, expected) in [
            (
                "postgresql://uri-user:secret@host:12345/db",
                "user=uri-user password=secret host=host port=12345 dbname=db",
            ),
            ("postgresql://ur%69-user@h/", "user=uri-user host=h"),
            ("postgres://", ""),
            ("postgres://?hostaddr=127.0.0.1&host=localhost", "hostaddr=127.0.0.1 host=localhost"),
            ("postgres:///db", "dbname=db"),
            ("postgresql://%68ost/", "host=host"),
            ("postgresql://:12345/db?host=/tmp", "port=12345 dbname=db host=/tmp"),
            ("postgresql://:12345?user=u", "port=12345 user=u"),
            ("postgresql://me@:1", "user=me port=1"),
            ("postgres://me:@h", "user=me host=h"),
            ("postgresql://[200z:db8::1234]/", "host=200z:db8::1234"),
            ("postgresql://[::1]:1,h:2/", "host=::1,h port=1,2"),
            ("postgres://@", ""),
            ("postgres://host?sslmode=r&%73slmode=x&ssl=true", "host=host sslmode=r sslmode=x sslmode=require"),
            ("postgres://%2Fvar%2Flib%2Fpostgresql/dbname", "host=/var/lib/postgresql dbname=dbname"),
            ("postgres://u:a?b@h/d", "user=u password=a?b host=h dbname=d"),
            ("postgres://h/?options=a+b%3Dc", "host=h options=a+b=c"),
        ] {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn damaged_urls_are_refused_without_a_piece_of_a_password() {
        for (url, named) in [
            ("postgres://host?zzz", "no `=` follows `zzz`"),
            ("postgres://host?password=a=S3CR", "`password` of the URL has a second `=`"),
            ("postgres://host?pa%XX=S3CR", "percent escape"),
            ("postgres://host?a=%0", "percent escape"),
            ("postgres://h%00/", "percent escape"),
            ("postgres://u:%S3CR@h", "percent escape"),
            ("postgres://[::1", "`]` is missing"),
            ("postgres://[]/", "IPv6"),
            ("postgres://[::1]z", "IPv6"),
            ("postgres://u:a@S3CR@h/d", "more than one `@`"),
            ("postgres://u:1/S3CR@h/d", "%2F"),
        ] {
            let told = parse(rest(url).unwrap()).unwrap_err().to_string();
            assert!(told.contains(named) && !told.contains("S3CR"), "{url}: {told}");
        }
    }
}
