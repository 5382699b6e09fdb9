//! Command lines and other text of programs, shown without secrets. Invariant: what has a form that a parser
//! understands is understood first; the rest is searched for names of secrets, and rather too much than too little is
//! hidden.

use super::conninfo;
use super::keywords;
use super::shown::{HIDDEN, shown_connection, shown_url};
use regex::Regex;
use std::sync::LazyLock;

/// A command line's arguments without secrets.
pub fn shown_arguments(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut option: Option<String> = None;
    let show = |argument: String| {
        let of = option.take();
        let named =
            argument.split_once('=').filter(|(name, _)| name.starts_with('-') && !name.contains(char::is_whitespace));
        match (of, named) {
            (Some(of), _) if !argument.starts_with("--") => shown_value(&of, &argument),
            (_, Some((name, value))) => format!("{name}={}", shown_value(name, value)),
            (_, None) => {
                option = argument.starts_with('-').then(|| argument.clone());
                shown_value("", &argument)
            }
        }
    };
    arguments.into_iter().map(show).collect()
}

/// The value of an option of this name; an argument by itself has none.
fn shown_value(option: &str, value: &str) -> String {
    let last = option.rsplit(['-', '_']).next().unwrap_or_default().to_lowercase();
    let known = |name: &str| keywords::find(name).is_some();
    if is_secret_name(option) || is_about_secrets(option) && is_like_a_secret(value) || has_known_form(value) {
        return HIDDEN.into();
    }
    if option == "-c" || last == "command" {
        return without_secrets(value);
    }
    if ["url", "uri", "dsn", "conninfo"].contains(&last.as_str()) {
        return shown_connection(value);
    }
    let is_url = URL.find(value).is_some_and(|found| found.as_str() == value) && !value.contains(['\'', '"']);
    match conninfo::parse(value) {
        _ if is_url => shown_connection(value),
        Ok(pairs) if !pairs.is_empty() && pairs.iter().all(|(name, _)| known(name)) => shown_connection(value),
        _ => match value.split_once('=') {
            Some((name, own))
                if !name.contains(char::is_whitespace)
                    && (is_secret_name(name) || is_about_secrets(name) && is_like_a_secret(own)) =>
            {
                format!("{name}={HIDDEN}")
            }
            _ => without_secrets(value),
        },
    }
}

/// One argument without secrets.
pub fn shown_argument(argument: &str) -> String {
    shown_value("", argument)
}

static URL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z][A-Za-z0-9+.-]*://\S+"));
/// A URL of the program's own examples and of usage texts: words in the place of every part that can be secret.
static EXAMPLE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[a-z]+://(?:[\[\]:@]*(?:USER|PASSWORD|HOST|PORT))+(?:/[\w./]*)?$"));
/// The beginning of an address whose scheme was left out: user, password, host.
static USER_INFO: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\b([A-Za-z_][\w.+-]*):([^\s:@/'"`]+)@(\w[\w.-]*)"#));
/// A name, perhaps quoted, and the sign before its value.
static SETTING: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([\w.-]*\w)["']?[ \t]*[=:][ \t]*"#));
/// An option with its value behind a blank.
static OPTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(--?[\w-]*\w)[ \t]+"));
/// SQL's `PASSWORD 'x'`, `IDENTIFIED BY 'x'`, `SECRET s AS 'x'`, with any form of a literal, or its beginning.
static SQL: LazyLock<Regex> = LazyLock::new(|| {
    let literal = r"(?:(?:e|b|x|u&)?'(?s:''|\\.|[^'\\])*'?|\$(?s:[A-Za-z_]*\$.*?(?:\$[A-Za-z_]*\$|$)))";
    let name = r#"(?:[\w.]+|"[^"]*")"#;
    let word = r"(?:passw\w*|passphrase|passcode|secret|token|access_?key|secret_?key|api_?key)";
    let set = format!(r"{word}\s*(?:=|:=|=>|\bto\b)?\s*");
    let identified = format!(r"identified\s+(?:with\s+{name}\s+)?by\s+");
    let made = format!(r"secret\s+(?:if\s+not\s+exists\s+)?{name}\s+as\s+");
    pattern(&format!(r"(?i)\b({set}|{identified}|{made}){literal}"))
});
/// What may be a value: quoted, with or without its end, or up to the next blank that no backslash stands before.
static VALUE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^(?s:'(?:\\.|''|[^'\\])*'?|"(?:\\.|[^"\\])*"?|(?:\\.|\S)+)"#));
static LINE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[^\n]+"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("constant pattern")
}

/// A text (a shell's command, a line of a log) with the secrets of URLs, settings and options replaced.
pub fn without_secrets(text: &str) -> String {
    let text = KNOWN_FORMS.replace_all(text, HIDDEN);
    let text = URL.replace_all(&text, |found: &regex::Captures| shown_in_text(&found[0]));
    let text = USER_INFO.replace_all(&text, |found: &regex::Captures| match (&found[2], &found[3]) {
        // An image's name with its digest, and an example.
        (_, "sha256") | ("PASSWORD", "HOST") => found[0].to_string(),
        (_, host) => format!("{}:{HIDDEN}@{host}", &found[1]),
    });
    let text = replace(&text, &SETTING, |name| is_secret_name(name).then_some(&*VALUE));
    let text = replace(&text, &SETTING, |name| name.to_lowercase().ends_with("authorization").then_some(&*LINE));
    let text = replace(&text, &OPTION, |name| is_secret_name(name).then_some(&*VALUE));
    without_sql_secrets(&text)
}

/// SQL with the literals of passwords and secrets replaced.
pub fn without_sql_secrets(sql: &str) -> String {
    SQL.replace_all(sql, format!("$1'{HIDDEN}'")).into_owned()
}

/// A server's message about this statement, without what the statement has of secrets, which some servers repeat.
pub fn message_without_secrets(message: &str, sql: &str) -> String {
    const SHORTEST: usize = 4;
    let literals = SQL.captures_iter(sql).filter_map(|found| found.get(0)?.as_str().strip_prefix(&found[1]));
    let texts = literals.map(|literal| literal.trim_matches(|c: char| !c.is_alphanumeric()));
    let texts = texts.filter(|text| text.len() >= SHORTEST);
    without_secrets(&texts.fold(message.to_string(), |message, text| message.replace(text, HIDDEN)))
}

/// Replaces the value behind each name for which there is a pattern.
fn replace<'a>(text: &str, names: &Regex, value: impl Fn(&str) -> Option<&'a Regex>) -> String {
    let (mut shown, mut done) = (String::new(), 0);
    for found in names.captures_iter(text) {
        let whole = found.get_match();
        // A value may be all that is left of the text: it is looked for where none was found around this one.
        if whole.start() < done || text[whole.end()..].starts_with(HIDDEN) {
            continue;
        }
        let Some(length) = value(&found[1]).and_then(|value| Some(value.find(&text[whole.end()..])?.end())) else {
            continue;
        };
        shown.push_str(&text[done..whole.end()]);
        shown.push_str(HIDDEN);
        done = whole.end() + length;
    }
    shown + &text[done..]
}

/// A URL inside a text, up to a quote that follows it.
fn shown_in_text(token: &str) -> String {
    let (url, rest) = token.split_at(token.find(['\'', '"', '`']).unwrap_or(token.len()));
    if rest.contains('@') && !url.contains('@') {
        // The quote may be the password's own.
        let scheme = token.split_once("://").map_or("", |(scheme, _)| scheme);
        return format!("{scheme}://{HIDDEN}");
    }
    let bare = url.trim_end_matches([')', ']', '}', ',', ';', '.']);
    let shown = match super::uri::rest(bare) {
        _ if EXAMPLE.is_match(bare) => bare.into(),
        Some(_) => shown_connection(bare),
        None => shown_url(bare),
    };
    format!("{shown}{}{rest}", &url[bare.len()..])
}

/// Credentials that are known by their form, whatever they are the value of: signed tokens (JWT), private keys, and the
/// prefixes that their issuers give them to be found by.
static KNOWN_FORMS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"|\b(?:A3T[A-Z0-9]|AKIA|ASIA)[A-Z0-9]{16}\b",
        r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk_live_|rk_live_|mzp_)[A-Za-z0-9_-]{16,}",
    ))
});

fn has_known_form(value: &str) -> bool {
    KNOWN_FORMS.find(value).is_some_and(|found| found.as_str() == value.trim())
}

/// Whether the name has to do with secrets, though its last word does not say that it holds one.
fn is_about_secrets(name: &str) -> bool {
    const WORDS: [&str; 11] =
        ["secret", "token", "pass", "pwd", "cred", "auth", "key", "license", "licence", "salt", "signature"];
    let lower = name.to_lowercase();
    lower != "pwd" && WORDS.iter().any(|word| lower.contains(word))
}

/// Whether a value can be a secret: not a path, number, switch or words of letters (`local-file`), but what people and
/// generators make up, in which letters and digits are mixed within a word, or which is long and without words.
fn is_like_a_secret(value: &str) -> bool {
    const SHORTEST: usize = 6;
    const LONG: usize = 24;
    let path = value.contains('/') && !value.ends_with('=') && value.split('/').all(|part| !mixed(part, LONG));
    if path || value.len() < SHORTEST || value.contains("://") {
        return false;
    }
    value.split(['-', '_', '.', ':', ',', ' ', '/']).any(|word| mixed(word, SHORTEST))
}

/// Letters and digits, or capitals within small letters, in a word of so many characters.
fn mixed(word: &str, least: usize) -> bool {
    let has = |what: fn(char) -> bool| word.chars().any(what);
    let letters = has(|c| c.is_alphabetic());
    let other = has(|c| !c.is_alphabetic()) || word.chars().skip(1).any(char::is_uppercase) && has(char::is_lowercase);
    word.chars().count() >= least && letters && other
}

/// Whether a setting, option or variable of this name holds a secret: its last word says so. What is about secrets
/// and holds none (`--secrets-controller`, `password_encryption`, `--token-file`) ends in another word.
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passwort",
        "pass",
        "pwd",
        "token",
        "secret",
        "apikey",
        "credential",
        "credentials",
    ];
    const ENDS: [&str; 8] = ["password", "passwd", "passphrase", "token", "secret", "apikey", "accesskey", "secretkey"];
    let lower = name.to_lowercase();
    let last = lower.rsplit(['-', '_', '.']).next().unwrap_or_default();
    let joined: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    // The shell's directory.
    name != "PWD" && (WORDS.contains(&last) || ENDS.iter().any(|end| joined.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Vec<String> {
        shown_arguments(given.iter().map(|argument| argument.to_string()))
    }

    #[test]
    fn secrets_of_a_command_line_are_hidden() {
        for (given, shown) in [
            (vec!["--url=host=h password='a b' user=x"], vec!["--url=host=h password=*** user=x"]),
            (vec!["--url", "postgres://u:p@ss@h:1/d"], vec!["--url", "postgres://u:***@h:1/d"]),
            (vec!["--b-url", "host=h password = S3CR"], vec!["--b-url", "host=h password=***"]),
            (vec!["--internal-url", "postgres://u:a/S3CR@h/d"], vec!["--internal-url", "postgres://***"]),
            (vec!["--metrics-url=http://u:S3CR@h/m"], vec!["--metrics-url=http://u:***@h/m"]),
            (vec!["--metrics-url", "http://h/m?token=S3CR"], vec!["--metrics-url", "http://h/m?token=***"]),
            (vec!["psql", "postgres://h/d?%70assword=S3CR"], vec!["psql", "postgres://:***@h/d"]),
            (vec!["psql", "host=h password=a\\ S3CR"], vec!["psql", "host=h password=***"]),
            (vec!["--password", "S3CR", "--port", "1"], vec!["--password", "***", "--port", "1"]),
            (vec!["--db-password=S3CR"], vec!["--db-password=***"]),
            (vec!["--api_key", "-S3CR"], vec!["--api_key", "***"]),
            (vec!["--a-env", "API_TOKEN=a S3CR"], vec!["--a-env", "API_TOKEN=***"]),
            (vec!["--set=password=S3CR"], vec!["--set=password=***"]),
            (vec!["sh", "-c", "PGPASSWORD=S3CR psql -h h"], vec!["sh", "-c", "PGPASSWORD=*** psql -h h"]),
            (vec!["--header", "Authorization: Bearer S3CR"], vec!["--header", "Authorization: ***"]),
            (vec!["--b-sql", "alter role x password 'S3''CR'"], vec!["--b-sql", "alter role x password '***'"]),
            (vec!["--secrets-controller=hunter2x"], vec!["--secrets-controller=***"]),
            (vec!["--license-key=eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"], vec!["--license-key=***"]),
            (vec!["--bearer", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"], vec!["--bearer", "***"]),
            (vec!["--internal-auth-key=4fA93bQz77"], vec!["--internal-auth-key=***"]),
            (vec!["--note=AKIAIOSFODNN7EXAMPLE"], vec!["--note=***"]),
            (vec!["--query", "create secret s as 'S3CR'"], vec!["--query", "create secret s as '***'"]),
        ] {
            assert_eq!(arguments(&given), shown);
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        let given = [
            "environmentd",
            "--secrets-controller=local-file",
            "--orchestrator-process-secrets-directory=/mzdata/secrets",
            "--persist-consensus-url=postgresql://root@localhost:26257?options=--search_path=consensus",
            "--token-file=/x",
            "--password-file",
            "/x",
            "-c",
            "password_encryption=scram-sha-256",
            "-c",
            "hba_file=/etc/postgresql/pg_hba.conf",
            "--max-tokens=5",
            "--sort-key=created",
            "--authentication=local",
            "--cluster-replica-sizes-file=/etc/sizes.json",
            "--persist-pubsub-url=http://localhost:6879",
            "--token-lifetime=3600s",
            "PWD=/home/me",
            "--query",
            "select 'a@b', x from t where password_hash = 1",
        ];
        assert_eq!(arguments(&given), given);
    }

    #[test]
    fn examples_in_messages_are_legible() {
        for example in [
            "write postgres://USER@HOST:PORT/DATABASE, or host=...",
            "write http://HOST:PORT/metrics",
            "as in http://USER:PASSWORD@HOST:PORT/...",
            "write ssh://[USER@]HOST[:PORT]",
        ] {
            assert_eq!(without_secrets(example), example);
        }
        assert_eq!(without_secrets("postgres://USER:S3CR@HOST:PORT/D"), "***");
    }

    #[test]
    fn sql_has_no_literal_of_a_password_or_secret() {
        for (sql, shown) in [
            (
                "ALTER ROLE x WITH ENCRYPTED PASSWORD 'S3CR' VALID UNTIL 'x'",
                "ALTER ROLE x WITH ENCRYPTED PASSWORD '***' VALID UNTIL 'x'",
            ),
            ("alter role x password\n  E'S3\\'CR'", "alter role x password\n  '***'"),
            ("alter user x password $$S3CR$$, y", "alter user x password '***', y"),
            ("alter user x password $a$S3'CR$a$", "alter user x password '***'"),
            (
                "create user mapping for x server s options (user 'x', password 'S3CR')",
                "create user mapping for x server s options (user 'x', password '***')",
            ),
            ("CREATE SECRET IF NOT EXISTS \"my s\" AS 'S3CR'", "CREATE SECRET IF NOT EXISTS \"my s\" AS '***'"),
            ("alter secret a.b as 'S3CR'", "alter secret a.b as '***'"),
            ("create user x identified by 'S3CR'", "create user x identified by '***'"),
            ("alter system set x.api_key to 'S3CR'", "alter system set x.api_key to '***'"),
            ("select * from t where token = 'S3CR", "select * from t where token = '***'"),
            // A slip of the pen.
            ("alter role x passwordd 'S3CR'", "alter role x passwordd '***'"),
            ("select 'a' as password, b from t where id = 'x'", "select 'a' as password, b from t where id = 'x'"),
        ] {
            assert_eq!(without_sql_secrets(sql), shown, "{sql}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_statements_secret_is_hidden() {
        let sql = "create user x password 'S3CR' in group 'abc'";
        let told = message_without_secrets("expected a name, found string \"S3CR\" near abc", sql);
        assert_eq!(told, "expected a name, found string \"***\" near abc");
        assert_eq!(message_without_secrets("no role \"x\"", sql), "no role \"x\"");
    }

    #[test]
    fn secrets_in_other_text_are_hidden() {
        for (text, shown) in [
            ("postgres://u:p@ss@h:1/d", "postgres://u:***@h:1/d"),
            ("./s --db 'postgres://u:S3CR@h/d' --port 1", "./s --db 'postgres://u:***@h/d' --port 1"),
            ("x --db postgres://u:a'S3CR@h/d", "x --db postgres://***"),
            (
                r#"{"url":"postgres://u:S3CR@h/d","password": "S3\"CR"}"#,
                r#"{"url":"postgres://u:***@h/d","password": ***}"#,
            ),
            ("environment: API_TOKEN=S3CR", "environment: API_TOKEN=***"),
            ("--to pyroscope=me:S3CR@host:1/x", "--to pyroscope=me:***@host:1/x"),
            ("image postgres:15@sha256:0a1b", "image postgres:15@sha256:0a1b"),
            ("./s --password S3CR -p 1", "./s --password *** -p 1"),
            ("connecting (http://a/?apikey=S3CR).", "connecting (http://a/?apikey=***)."),
            ("FATAL: password authentication failed for x", "FATAL: password authentication failed for x"),
            ("password='S3CR", "password=***"),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }
}
