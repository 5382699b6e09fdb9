//! An address as other programs' drivers take it: tokio-postgres, and Go's lib/pq. Invariant: what a driver cannot be
//! told is refused by name, and no password stands in a URL.

use super::endpoint::bracketed;
use super::shown::{encode, encode_value};
use super::{Address, Encryption, Endpoint, Roots, SettingError, TlsMode, Verify};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode};

impl Address {
    /// For tokio-postgres: the same server, user and password. Its modes of TLS are fewer: `allow` becomes `prefer`,
    /// and what is asked of the certificate is up to the TLS configuration.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name(&self.application).port(self.port());
        match &self.endpoint {
            Endpoint::Tcp { name, host, .. } => {
                config.host(name);
                if let Some(address) = host.parse().ok().filter(|_| name != host) {
                    config.hostaddr(address);
                }
            }
            // tokio takes a path that begins with 0 for an abstract name.
            Endpoint::Unix { directory, .. } => {
                config.host_path(directory.strip_prefix('@').map_or(directory.clone(), |name| format!("\0{name}")));
            }
        }
        config.ssl_mode(match self.encryption.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Allow | TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require => SslMode::Require,
        });
        config.channel_binding(ChannelBinding::Prefer);
        if let Some(password) = self.password() {
            config.password(password.expose());
        }
        self.options.iter().for_each(|options| _ = config.options(options));
        self.timeout.iter().for_each(|limit| _ = config.connect_timeout(*limit));
        self.tcp_timeout.iter().for_each(|limit| _ = config.tcp_user_timeout(*limit));
        config.keepalives(self.keepalive.is_some());
        let keepalive = self.keepalive.unwrap_or_default();
        keepalive.idle.iter().for_each(|idle| _ = config.keepalives_idle(*idle));
        keepalive.interval.iter().for_each(|interval| _ = config.keepalives_interval(*interval));
        keepalive.count.iter().for_each(|count| _ = config.keepalives_retries(*count));
        config
    }

    /// A URL for Go's lib/pq, without the password. That library knows no `prefer`: plain then, as it would otherwise
    /// insist on TLS.
    ///
    /// # Errors
    /// A setting that lib/pq cannot be told, by its name.
    pub fn url_for_go(&self) -> Result<String, SettingError> {
        let mut parameters = Vec::new();
        let database = encode(&self.database);
        let start = match &self.endpoint {
            Endpoint::Tcp { name, host, port } => {
                let named = self.encryption.verify == Verify::AuthorityAndName;
                if named && name != host {
                    return Err(refused("hostaddr"));
                }
                let host = if host.contains(':') { bracketed(&encode_value(host)) } else { encode(host) };
                format!("postgres://{}@{host}:{port}/{database}", encode(&self.user))
            }
            Endpoint::Unix { directory, port } => {
                parameters.push(("host", directory.clone()));
                parameters.push(("port", port.to_string()));
                parameters.push(("user", self.user.clone()));
                format!("postgres:///{database}")
            }
        };
        parameters.extend(tls_for_go(&self.encryption)?);
        parameters.extend(self.options.clone().map(|options| ("options", options)));
        let limit = self.timeout.map(|limit| ("connect_timeout", limit.as_secs().to_string()));
        parameters.extend(limit);
        if self.application != "wireprof" {
            parameters.push(("application_name", self.application.clone()));
        }
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        Ok(format!("{start}?{}", parameters.join("&")))
    }
}

fn refused(setting: &str) -> SettingError {
    SettingError(format!("{setting} cannot be told to dbbench; leave it out, or leave out --driver"))
}

fn tls_for_go(encryption: &Encryption) -> Result<Vec<(&'static str, String)>, SettingError> {
    let mode = match (encryption.mode, encryption.verify) {
        (TlsMode::Require, Verify::Nothing) => "require",
        (TlsMode::Require, Verify::Authority) => "verify-ca",
        (TlsMode::Require, Verify::AuthorityAndName) => "verify-full",
        _ => return Ok(vec![("sslmode", "disable".into())]),
    };
    let unsaid = [
        ("sslcrl", encryption.revoked.is_some()),
        ("ssl_min_protocol_version", !encryption.versions[0]),
        ("ssl_max_protocol_version", !encryption.versions[1]),
    ];
    if let Some((setting, _)) = unsaid.into_iter().find(|(_, asked)| *asked) {
        return Err(refused(setting));
    }
    let mut parameters = vec![("sslmode", mode.to_string())];
    // Without a file lib/pq takes the system's authorities.
    if let Some(Roots::File(file)) = &encryption.roots {
        parameters.push(("sslrootcert", file.display().to_string()));
    }
    if let Some(client) = &encryption.client {
        parameters.push(("sslcert", client.certificate.display().to_string()));
        parameters.push(("sslkey", client.key.display().to_string()));
    }
    if !encryption.names_host {
        parameters.push(("sslsni", "0".into()));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(text: &str) -> String {
        let url = Address::parse_in(text, &|_| None).and_then(|address| address.url_for_go());
        url.unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn the_url_for_dbbench_has_no_password_and_a_mode_that_it_knows() {
        assert_eq!(go("postgres://me:secret@db:6875/app"), "postgres://me@db:6875/app?sslmode=disable");
        assert_eq!(go("postgres://a%20b@h/?sslmode=require"), "postgres://a%20b@h:5432/a%20b?sslmode=require");
        assert_eq!(go("postgres://me@[::1]/"), "postgres://me@[::1]:5432/me?sslmode=disable");
        let socket = "postgres:///app?host=%2Frun%2Fpg&port=5432&user=os&sslmode=disable";
        assert_eq!(go("postgres://os@/app?host=/run/pg"), socket);
        assert_eq!(go("host=h hostaddr=::1 user=me"), "postgres://me@[::1]:5432/me?sslmode=disable");
        assert!(
            go("host=h user=me sslmode=require ssl_min_protocol_version=TLSv1.3")
                .starts_with("ssl_min_protocol_version")
        );
    }
}
