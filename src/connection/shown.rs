//! Addresses as people may see them. Invariant: what is shown is either the text itself, in which no secret was found
//! once it was understood, or rebuilt from what was understood; what is not understood and could hold a secret is not
//! shown.

use super::conninfo::{self, Pairs, quote};
use super::endpoint::bracketed;
use super::{Address, Endpoint, keywords, uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// What stands in a secret's place.
pub const HIDDEN: &str = "***";

/// Everything that has a meaning of its own somewhere in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same in a parameter's value, where paths and addresses stay legible.
const IN_VALUE: &AsciiSet = &RESERVED.remove(b'/').remove(b':').remove(b',').remove(b'*');

/// Percent-encodes what has a meaning of its own in a URL.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// As [`encode`], for a place where `/`, `:` and `,` have no meaning.
pub fn encode_value(text: &str) -> String {
    utf8_percent_encode(text, IN_VALUE).to_string()
}

/// The address without its password.
pub fn shown_address(address: &Address) -> String {
    let (user, database) = (encode(&address.user), encode(&address.database));
    match &address.endpoint {
        Endpoint::Tcp { name, host, port } => {
            let place = if name.contains(':') { bracketed(&encode_value(name)) } else { encode(name) };
            let to = if name == host { String::new() } else { format!("?hostaddr={}", encode_value(host)) };
            format!("postgres://{user}@{place}:{port}/{database}{to}")
        }
        Endpoint::Unix { directory, port } => {
            let (directory, user) = (encode_value(directory), encode_value(&address.user));
            format!("postgres:///{database}?host={directory}&port={port}&user={user}")
        }
    }
}

/// A connection string of the user's, its secrets replaced, whether or not a server could be reached by it.
pub fn shown_connection(text: &str) -> String {
    if uri::rest(text).is_none() && text.contains("://") && !text.contains(char::is_whitespace) {
        return shown_url(text);
    }
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    // A password without `@` behind it is cut as a port.
    let port = |name: &str, value: &str| name == "port" && value.contains(|c: char| !c.is_ascii_digit() && c != ',');
    match conninfo::parse(text) {
        Ok(pairs) if !pairs.iter().all(|(name, value)| plain(name) && !port(name, value)) => HIDDEN.into(),
        Ok(pairs) if pairs.iter().any(|(name, _)| is_secret(name)) => match uri::rest(text) {
            Some(_) => rebuilt_url(pairs),
            None => rebuilt_words(&pairs),
        },
        Ok(_) => text.into(),
        Err(_) if text.contains("://") => shown_url(text),
        Err(_) if text.contains(['@', ':', '=', '\'']) || text.contains(char::is_whitespace) => HIDDEN.into(),
        Err(_) => text.into(),
    }
}

/// A URL of any scheme, its password and its secret parameters replaced. A user without a password may be a token,
/// but for a database's.
pub fn shown_url(text: &str) -> String {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let of_database = uri::rest(text).is_some();
    let parsed = Url::parse(text).ok().filter(|url| !(of_database && url.path().contains('@')));
    let hidden = || if scheme.is_empty() { HIDDEN.to_string() } else { format!("{scheme}://{HIDDEN}") };
    let Some(mut url) = parsed.filter(Url::has_host) else { return hidden() };
    let pairs: Vec<(String, String)> = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let secret = |name: &str| is_secret(name) || ["key", "auth", "sig", "signature"].contains(&name);
    let (password, parameters) = (url.password().is_some(), pairs.iter().any(|(name, _)| secret(name)));
    let token = !url.username().is_empty() && !password && !of_database;
    let fragment = url.fragment().is_some_and(|fragment| fragment.contains('='));
    if !(password || parameters || token || fragment) {
        return text.into();
    }
    let replaced = match (password, token) {
        (true, _) => url.set_password(Some(HIDDEN)),
        (_, true) => url.set_username(HIDDEN),
        _ => Ok(()),
    };
    if replaced.is_err() {
        return hidden();
    }
    if parameters {
        let show = |(name, value): &(String, String)| {
            format!("{}={}", encode(name), if secret(name) { HIDDEN.into() } else { encode_value(value) })
        };
        url.set_query(Some(&pairs.iter().map(show).collect::<Vec<_>>().join("&")));
    }
    url.set_fragment(None);
    url.into()
}

/// A secret of libpq's, a name like one, or a name that libpq does not know and that was perhaps meant for one.
fn is_secret(name: &str) -> bool {
    let meant =
        || ["pas", "pw", "secret", "token", "cred", "key"].iter().any(|part| name.to_lowercase().contains(part));
    match keywords::find(name) {
        Some(keyword) => keyword.is_secret(),
        None => super::masking::is_secret_name(name) || meant(),
    }
}

fn rebuilt_words(pairs: &Pairs) -> String {
    let word = |(name, value): &(String, String)| match is_secret(name) {
        true => format!("{name}={HIDDEN}"),
        false => format!("{name}={}", quote(value)),
    };
    pairs.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn rebuilt_url(mut pairs: Pairs) -> String {
    // Of several values the last one counts.
    let mut take = |name: &str| {
        let value = pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        pairs.retain(|(known, _)| known != name);
        value
    };
    let (user, password, database) = (take("user"), take("password"), take("dbname"));
    let (host, port) = (take("host").unwrap_or_default(), take("port"));
    let mut parameters = Vec::new();
    let plain = !host.starts_with('/') && !host.contains(',') && port.as_ref().is_none_or(|port| !port.contains(','));
    let place = if plain {
        let host = if host.contains(':') { bracketed(&encode_value(&host)) } else { encode(&host) };
        format!("{host}{}", port.map_or(String::new(), |port| format!(":{}", encode(&port))))
    } else {
        parameters.push(("host".to_string(), host));
        parameters.extend(port.map(|port| ("port".to_string(), port)));
        String::new()
    };
    parameters.extend(pairs);
    let as_whom = match (user, password) {
        (None, None) => String::new(),
        (user, None) => format!("{}@", encode(&user.unwrap_or_default())),
        (user, Some(_)) => format!("{}:{HIDDEN}@", encode(&user.unwrap_or_default())),
    };
    let show = |(name, value): &(String, String)| {
        format!("{}={}", encode(name), if is_secret(name) { HIDDEN.into() } else { encode_value(value) })
    };
    let query = parameters.iter().map(show).collect::<Vec<_>>().join("&");
    let question = if query.is_empty() { "" } else { "?" };
    format!("postgres://{as_whom}{place}/{}{question}{query}", database.as_deref().map(encode).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_shown_rebuilt_without_its_password() {
        for (text, shown) in [
            ("postgres://u:S3CR@h:1/d", "postgres://u:***@h:1/d"),
            ("postgres://u@h:1/d?pass%77ord=S3CR&sslmode=require", "postgres://u:***@h:1/d?sslmode=require"),
            ("postgres://h/d?pasword=S3CR", "postgres://h/d?pasword=***"),
            ("postgres:///d?host=/run/pg&user=u&password=S3CR", "postgres://u:***@/d?host=/run/pg"),
            ("postgres://u:S3CR@[::1]:7/d", "postgres://u:***@[::1]:7/d"),
            ("postgres://u:S3CR@a:1,b:2/d", "postgres://u:***@/d?host=a,b&port=1,2"),
            ("host=h password = S3CR user=x", "host=h password=*** user=x"),
            ("host=h password=a\\ S3CR user='a b'", "host=h password=*** user='a b'"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("host=h  user = x", "host=h  user = x"),
            ("postgres://root@h:26257?options=--search_path=x", "postgres://root@h:26257?options=--search_path=x"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(shown_connection(text), shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_shown() {
        for text in [
            "postgres://u:a@S3CR@h/d",
            "postgres://u:a/S3CR@h/d",
            "postgres://u:1/S3CR@h/d",
            "postgres://u:S%3CR@h/d",
            "postgres://u:S3CR",
            "POSTGRES://u:S3CR@h/d",
            "password='S3CR",
            "host=h password=a S3CR",
            "u/S3CR@h",
            "http://u:a/S3CR@h/",
            "me:S3CR@h=y",
        ] {
            assert!(!shown_connection(text).contains("S3CR"), "{text}: {}", shown_connection(text));
        }
    }

    #[test]
    fn passwords_and_tokens_of_other_urls_are_not_shown() {
        for (text, shown) in [
            ("http://me:se@cret@host:1/metrics", "http://me:***@host:1/metrics"),
            ("http://host:1/a@b", "http://host:1/a@b"),
            ("http://S3CR@host/", "http://***@host/"),
            ("http://host/m?access_token=S3CR&format=x", "http://host/m?access_token=***&format=x"),
            ("http://host/m?%74oken=S3CR", "http://host/m?token=***"),
            ("http://host/m#token=S3CR", "http://host/m"),
            ("http://host:x:S3CR/", "http://***"),
            ("S3CR@host", "***"),
        ] {
            assert_eq!(shown_url(text), shown, "{text}");
        }
    }
}
