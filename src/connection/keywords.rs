//! Every setting that libpq knows, and what wireprof makes of it. Invariant: each is followed, or refused by its name
//! where it asks for anything that wireprof does not do; there is no third way.
//!
//! Source: `PQconninfoOptions` of libpq's fe-connect.c, versions 12 to 18.

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Followed.
    Followed,
    /// Followed, and never shown.
    Secret,
    /// Only these values are supported; the text says what to do instead of another.
    Only(&'static [&'static str], &'static str),
    /// Tunes only what is refused where a server asks for it, by an error of its own.
    Moot,
    /// Refused unless empty; never shown.
    RefusedSecret,
}

/// One setting.
#[derive(Debug)]
pub struct Keyword {
    pub name: &'static str,
    /// The environment's name for it.
    pub variable: Option<&'static str>,
    pub rule: Rule,
}

const fn keyword(name: &'static str, variable: &'static str, rule: Rule) -> Keyword {
    Keyword { name, variable: Some(variable), rule }
}

const fn without_variable(name: &'static str, rule: Rule) -> Keyword {
    Keyword { name, variable: None, rule }
}

const LEAVE_OUT: &str = "leave it out";

/// In libpq's order.
pub const KEYWORDS: &[Keyword] = &[
    keyword("service", "PGSERVICE", Rule::Followed),
    keyword("user", "PGUSER", Rule::Followed),
    keyword("password", "PGPASSWORD", Rule::Secret),
    keyword("passfile", "PGPASSFILE", Rule::Followed),
    keyword(
        "channel_binding",
        "PGCHANNELBINDING",
        Rule::Only(
            &["prefer", "disable"],
            "leave it out: channels are not bound; sslmode=verify-full names the server",
        ),
    ),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT", Rule::Followed),
    keyword("dbname", "PGDATABASE", Rule::Followed),
    keyword("host", "PGHOST", Rule::Followed),
    keyword("hostaddr", "PGHOSTADDR", Rule::Followed),
    keyword("port", "PGPORT", Rule::Followed),
    keyword(
        "client_encoding",
        "PGCLIENTENCODING",
        Rule::Only(&["UTF8", "utf8", "UTF-8", "utf-8", "unicode", "UNICODE"], "write UTF8, or leave it out"),
    ),
    keyword("options", "PGOPTIONS", Rule::Followed),
    keyword("application_name", "PGAPPNAME", Rule::Followed),
    without_variable("fallback_application_name", Rule::Followed),
    without_variable("keepalives", Rule::Followed),
    without_variable("keepalives_idle", Rule::Followed),
    without_variable("keepalives_interval", Rule::Followed),
    without_variable("keepalives_count", Rule::Followed),
    without_variable("tcp_user_timeout", Rule::Followed),
    keyword("sslmode", "PGSSLMODE", Rule::Followed),
    keyword("sslnegotiation", "PGSSLNEGOTIATION", Rule::Only(&["postgres"], LEAVE_OUT)),
    keyword("sslcompression", "PGSSLCOMPRESSION", Rule::Only(&["0"], LEAVE_OUT)),
    keyword("sslcert", "PGSSLCERT", Rule::Followed),
    keyword("sslkey", "PGSSLKEY", Rule::Followed),
    keyword(
        "sslcertmode",
        "PGSSLCERTMODE",
        Rule::Only(&["allow", "disable"], "write allow or disable, or leave it out"),
    ),
    without_variable("sslpassword", Rule::RefusedSecret),
    keyword("sslrootcert", "PGSSLROOTCERT", Rule::Followed),
    keyword("sslcrl", "PGSSLCRL", Rule::Followed),
    keyword("sslcrldir", "PGSSLCRLDIR", Rule::Only(&[], "give one file of revoked certificates as sslcrl")),
    keyword("sslsni", "PGSSLSNI", Rule::Only(&["0", "1"], "write 0 or 1")),
    keyword(
        "requirepeer",
        "PGREQUIREPEER",
        Rule::Only(&[], "leave it out, or connect over TCP with sslmode=verify-full"),
    ),
    keyword("require_auth", "PGREQUIREAUTH", Rule::Only(&[], "leave it out, and ask for sslmode=verify-full")),
    keyword("min_protocol_version", "PGMINPROTOCOLVERSION", Rule::Only(&["3.0"], "wireprof speaks 3.0")),
    keyword(
        "max_protocol_version",
        "PGMAXPROTOCOLVERSION",
        Rule::Only(&["3.0", "3.2", "latest"], "wireprof speaks 3.0"),
    ),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Rule::Followed),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Rule::Followed),
    keyword("gssencmode", "PGGSSENCMODE", Rule::Only(&["prefer", "disable"], "leave it out, and use TLS")),
    // Of GSSAPI and OAuth, for which a server is refused with the method's name.
    keyword("krbsrvname", "PGKRBSRVNAME", Rule::Moot),
    keyword("gsslib", "PGGSSLIB", Rule::Moot),
    keyword("gssdelegation", "PGGSSDELEGATION", Rule::Moot),
    without_variable("oauth_issuer", Rule::Moot),
    without_variable("oauth_client_id", Rule::Moot),
    without_variable("oauth_client_secret", Rule::RefusedSecret),
    without_variable("oauth_scope", Rule::Moot),
    without_variable("replication", Rule::Only(&["false", "off", "no", "0"], LEAVE_OUT)),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Rule::Only(&["any"], "name the server that is meant")),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Rule::Only(&["disable"], "name the server that is meant")),
    without_variable("scram_client_key", Rule::RefusedSecret),
    without_variable("scram_server_key", Rule::RefusedSecret),
    without_variable("sslkeylogfile", Rule::Only(&[], LEAVE_OUT)),
    without_variable("servicefile", Rule::Followed),
];

/// The names of all variables that libpq reads. A child that gets the settings otherwise must not see them.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let others = ["PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL", "PGDATESTYLE", "PGTZ", "PGGEQO"];
    KEYWORDS.iter().filter_map(|keyword| keyword.variable).chain(others)
}

/// The setting of this name, as libpq spells it: case counts.
pub fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

impl Keyword {
    /// Its value is never shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.rule, Rule::Secret | Rule::RefusedSecret)
    }

    /// Protects the connection: two values of it must not contradict each other.
    pub fn protects(&self) -> bool {
        let others = ["channel_binding", "gssencmode", "require_auth", "requirepeer"];
        self.name.starts_with("ssl") || others.contains(&self.name)
    }
}
