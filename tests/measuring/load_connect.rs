//! Opening connections: every way of authenticating, TLS, and every way it fails with its own words.

use crate::postgres::{Postgres, parse};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use wireprof::load::{Address, LoadError, run_script};

fn connect(address: &Address) -> Result<(), LoadError> {
    run_script(address, &["select 1".to_string()], Duration::from_secs(10))
}

fn refusal(url: &str) -> String {
    let error = connect(&parse(url)).unwrap_err();
    assert!(error.is_environment(), "{error:?}");
    error.to_string()
}

#[test]
fn passwords_are_taken_from_the_url_the_environment_and_the_file() {
    let Some(server) = Postgres::start("") else { return };
    let port = server.port;
    for (user, password) in [("by_scram", "scram secret"), ("by_md5", "md5 secret"), ("by_password", "plain secret")] {
        let quoted = password.replace(' ', "%20");
        connect(&parse(&format!("postgres://{user}:{quoted}@127.0.0.1:{port}/postgres"))).unwrap();
        let variable = |name: &str| (name == "PGPASSWORD").then(|| password.to_string());
        connect(&Address::parse_in(&server.url(user), &variable).unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("127.0.0.1:{port}:postgres:{user}:{password}\n")).unwrap();
        let variable = |name: &str| (name == "PGPASSFILE").then(|| file.path().display().to_string());
        connect(&Address::parse_in(&server.url(user), &variable).unwrap()).unwrap();

        let wrong = refusal(&format!("postgres://{user}:wrong@127.0.0.1:{port}/postgres"));
        let expected = format!("127.0.0.1:{port} does not accept the password of user {user:?}");
        assert!(wrong.starts_with(&expected) && wrong.ends_with("password from the URL); correct it there"), "{wrong}");
        let none = refusal(&server.url(user));
        assert!(none.contains(&format!("wants a password of user {user:?} and there is none")), "{none}");
    }
}

#[test]
fn sockets_and_key_value_strings_reach_the_server_too() {
    let Some(server) = Postgres::start("") else { return };
    let (directory, port) = (server.directory().display(), server.port);
    connect(&parse(&format!("host={directory} port={port} user=postgres dbname=postgres"))).unwrap();
    connect(&parse(&format!("postgres:///postgres?host={directory}&port={port}&user=postgres"))).unwrap();
    let options = "host=127.0.0.1 user=postgres options='-c statement_timeout=77ms'";
    let sleeps = ["select pg_sleep(1)".to_string()];
    let error = run_script(&parse(&format!("{options} port={port}")), &sleeps, Duration::from_secs(10)).unwrap_err();
    assert!(error.to_string().contains("canceling statement due to statement timeout (SQLSTATE 57014)"), "{error}");
}

#[test]
fn tls_is_used_as_the_mode_says() {
    let Some(server) = Postgres::start("ssl = on") else { return };
    let port = server.port;
    let url = |host: &str, rest: &str| format!("postgres://by_scram:scram%20secret@{host}:{port}/postgres?{rest}");
    let encrypted = "do $$ begin if not (select ssl from pg_stat_ssl where pid = pg_backend_pid()) then \
        raise exception 'plain'; end if; end $$";
    let ask = |url: &str| run_script(&parse(url), &[encrypted.to_string()], Duration::from_secs(10));
    ask(&url("127.0.0.1", "sslmode=require")).unwrap();
    ask(&url("127.0.0.1", "sslmode=prefer")).unwrap();
    assert!(ask(&url("127.0.0.1", "sslmode=disable")).unwrap_err().to_string().contains("plain"));

    let roots = server.certificate().display().to_string();
    let full = format!("sslmode=verify-full&sslrootcert={roots}");
    ask(&url("localhost", &format!("{full}&hostaddr=127.0.0.1"))).unwrap();
    let other_name = refusal(&url("127.0.0.1", &full));
    assert!(other_name.contains("TLS with 127.0.0.1:") && other_name.contains("not valid for name"), "{other_name}");
    let unknown = refusal(&url("localhost", "hostaddr=127.0.0.1&sslrootcert=system"));
    assert!(unknown.contains("UnknownIssuer") && unknown.contains("sslrootcert"), "{unknown}");
    let missing = |rest: &str| Address::parse_in(&url("localhost", rest), &|_| None).unwrap_err().to_string();
    let named = missing("sslmode=verify-full&sslrootcert=/nonexistent.pem");
    assert!(named.starts_with("sslrootcert is /nonexistent.pem: "), "{named}");
    let none = missing("hostaddr=127.0.0.1&sslmode=verify-full");
    assert!(none.contains("give one as sslrootcert, or sslrootcert=system"), "{none}");
}

#[test]
fn what_the_server_refuses_is_told_apart() {
    let Some(server) = Postgres::start("max_connections = 5\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0")
    else {
        return;
    };
    let port = server.port;
    let tls = refusal(&format!("{}?sslmode=require", server.url("postgres")));
    assert_eq!(
        tls,
        format!(
            "127.0.0.1:{port} does not offer TLS; add `sslmode=disable` to the URL, or switch TLS on in the server"
        )
    );
    let database = refusal(&format!("postgres://postgres@127.0.0.1:{port}/nope"));
    assert!(database.starts_with(&format!("127.0.0.1:{port} has no database \"nope\": ")), "{database}");
    let role = refusal(&server.url("nobody_at_all"));
    assert!(role.contains("refuses the session: role \"nobody_at_all\" does not exist (SQLSTATE 28000)"), "{role}");

    use wireprof::load::{Driver, Options, PgwireDriver};
    let workload = wireprof::workload::Workload::from_query("select 1");
    let mut driver = PgwireDriver::new(server.address("postgres"), workload, Options::default());
    let error = driver.open(9).err().unwrap().to_string();
    assert!(error.starts_with(&format!("127.0.0.1:{port} admits no more connections after ")), "{error}");
    assert!(error.contains(" of 9: ") && error.ends_with("raise max_connections, or lower the level"), "{error}");
}

/// A server that says one thing to whoever connects.
fn babbler(says: &'static [u8], hold: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut request = [0; 512];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(says);
        std::thread::sleep(hold);
    });
    port
}

#[test]
fn what_is_no_postgres_is_recognised() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let message = refusal(&format!("postgres://a@127.0.0.1:{closed}/"));
    assert!(message.starts_with(&format!("nothing listens at 127.0.0.1:{closed}: ")), "{message}");

    for (mode, http) in [("disable", "\\\"HTTP/1.1 400 Bad\\\""), ("prefer", "'H' to a request for TLS")] {
        let port = babbler(b"HTTP/1.1 400 Bad Request\r\n\r\n", Duration::ZERO);
        let message = refusal(&format!("postgres://a@127.0.0.1:{port}/?sslmode={mode}"));
        let expected = format!("127.0.0.1:{port} does not speak the PostgreSQL protocol: it answered ");
        assert!(message.starts_with(&expected), "{message}");
        assert!(message.contains(&http.replace("\\\"", "\"")), "{message}");
    }
    let port = babbler(b"", Duration::ZERO);
    let message = refusal(&format!("postgres://a@127.0.0.1:{port}/?sslmode=disable"));
    assert!(message.contains(&format!("127.0.0.1:{port} closed the connection at start-up")), "{message}");
    let port = babbler(b"", Duration::from_secs(3));
    let message = refusal(&format!("postgres://a@127.0.0.1:{port}/?sslmode=disable&connect_timeout=1"));
    assert!(message.starts_with(&format!("127.0.0.1:{port} did not answer within 1s (at start-up)")), "{message}");
    let message = refusal("postgres://a@no-such-host.invalid/");
    assert!(message.starts_with("host \"no-such-host.invalid\" has no address: "), "{message}");
}
