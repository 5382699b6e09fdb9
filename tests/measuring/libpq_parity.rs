//! Connection settings against libpq itself: a table of connection strings, environments and files, each given to
//! psql and to wireprof. Both reach the same server as the same user in the same way, or wireprof refuses by the
//! setting's name.

use crate::postgres::Postgres;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wireprof::load::{self, Address, run_script};

/// Who one is, where, and how: the answer that both clients must get.
const WHO: &str = "select concat_ws('|', current_user, current_database(), \
    coalesce(host(inet_server_addr()), 'socket'), current_setting('port'), \
    (select ssl from pg_stat_ssl where pid = pg_backend_pid()), \
    current_setting('statement_timeout'), current_setting('timezone'), current_setting('application_name'))";

const HBA: &str = "local all by_scram scram-sha-256
local all all trust
hostssl all tls_only all trust
hostnossl all plain_only all trust
host all tls_only,plain_only all reject
hostssl all by_cert all cert
host all by_scram all scram-sha-256
host all by_password all password
host all all all trust
";

/// Two servers, with TLS and without, and a home with files.
struct Bench {
    tls: Postgres,
    plain: Postgres,
    home: tempfile::TempDir,
    psql: PathBuf,
}

/// One line of the table.
struct Row {
    string: String,
    environment: Vec<(&'static str, String)>,
    /// The setting that wireprof refuses by name, or may.
    refused: Option<&'static str>,
}

/// A string alone.
fn row(string: impl Into<String>) -> Row {
    Row { string: string.into(), environment: Vec::new(), refused: None }
}

impl Row {
    fn with(mut self, variable: &'static str, value: impl ToString) -> Row {
        self.environment.push((variable, value.to_string()));
        self
    }

    fn refused_by(mut self, setting: &'static str) -> Row {
        self.refused = Some(setting);
        self
    }
}

fn psql() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = installed.chain(std::env::split_paths(&path)).map(|bin| bin.join("psql")).collect();
    all.into_iter().find(|psql| psql.exists())
}

fn openssl(directory: &Path, arguments: &str) {
    let mut openssl = Command::new("openssl");
    let done = openssl.args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

impl Bench {
    fn start() -> Option<Bench> {
        let psql = psql()?;
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        fs::write(path("hba"), HBA).unwrap();
        fs::write(path("ext"), "basicConstraints = CA:FALSE\n").unwrap();
        openssl(
            home.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        );
        openssl(home.path(), "req -newkey rsa:2048 -nodes -subj /CN=by_cert -keyout client.key -out client.csr");
        openssl(
            home.path(),
            "x509 -req -extfile ext -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out client.crt",
        );
        fs::set_permissions(path("client.key"), PermissionsExt::from_mode(0o600)).unwrap();
        let own = home.path().display();
        let abstract_name = format!("@wireprof-{}", std::process::id());
        let common = format!("hba_file = '{own}/hba'\nlisten_addresses = '127.0.0.1,::1'\n");
        let sockets = format!("unix_socket_directories = '{own}, {abstract_name}'\n");
        let tls = Postgres::start(&format!("{common}{sockets}ssl = on\nssl_ca_file = '{own}/ca.crt'"))?;
        let plain = Postgres::start(&common)?;
        let account = Command::new("id").arg("-un").output().unwrap();
        let account = String::from_utf8(account.stdout).unwrap().trim().to_string();
        for server in [&tls, &plain] {
            let mut roles =
                vec!["create role tls_only login", "create role plain_only login", "create role by_cert login"];
            let own = format!("create role \"{account}\" login");
            let database = format!("create database \"{account}\"");
            if account != "postgres" {
                roles.extend([own.as_str(), database.as_str()]);
            }
            server.run(&roles);
        }
        Some(Bench { tls, plain, home, psql })
    }

    /// What psql is told, or nothing.
    fn libpq(&self, row: &Row) -> Result<String, String> {
        let mut psql = Command::new(&self.psql);
        psql.env_clear().env("HOME", self.home.path()).env("LC_ALL", "C").envs(row.environment.iter().cloned());
        psql.args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-c", WHO, "-d", &row.string]);
        let done = psql.output().unwrap();
        match done.status.success() {
            true => Ok(String::from_utf8(done.stdout).unwrap().trim().to_string()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    /// What wireprof is told on both of its ways to connect, which must agree.
    fn ours(&self, row: &Row) -> Result<String, String> {
        let environment: BTreeMap<_, _> = row.environment.iter().cloned().collect();
        let variable = |name: &str| match name {
            "HOME" => Some(self.home.path().display().to_string()),
            name => environment.get(name).cloned(),
        };
        let address = Address::parse_in(&row.string, &variable).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let administrator: Result<String, String> = runtime.block_on(async {
            let client = load::connect(&address).await.map_err(|error| format!("{error:#}"))?;
            let row = client.simple_query(WHO).await.unwrap().into_iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(String::from),
                _ => None,
            });
            Ok(row.unwrap())
        });
        let expected = administrator.clone().unwrap_or_default();
        let check = format!("do $do$ begin if ({WHO}) <> '{expected}' then raise 'is not the same'; end if; end $do$");
        let loaded = run_script(&address, &[check], Duration::from_secs(10)).map_err(|error| error.to_string());
        match (administrator, loaded) {
            (Ok(told), Ok(())) => Ok(told),
            (Err(_), Err(error)) => Err(error),
            (told, loaded) => panic!("{}: set-up {told:?}, load {loaded:?}", row.string),
        }
    }

    /// The same but for the program's own name.
    fn alike(libpq: &str, ours: &str) -> bool {
        libpq.strip_suffix("|psql").map_or(libpq.into(), |start| format!("{start}|wireprof")) == ours
    }
}

/// The table of the server with TLS.
fn with_tls(bench: &Bench) -> Vec<Row> {
    let port = bench.tls.port;
    let home = bench.home.path().display().to_string();
    let full = format!("sslmode=verify-full&sslrootcert={}", bench.tls.certificate().display());
    let encoded = home.replace('/', "%2F");
    let certificate = bench.tls.certificate().display().to_string();
    let url = |user: &str, rest: &str| format!("postgres://{user}@127.0.0.1:{port}/postgres{rest}");
    let words = |rest: &str| format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {rest}");
    let mut rows: Vec<Row> = [
        url("postgres", ""),
        url("postgres", "?sslmode=disable"),
        url("postgres", "?sslmode=allow"),
        url("postgres", "?sslmode=prefer"),
        url("postgres", "?sslmode=require"),
        url("postgres", "?%73sl%6dode=r%65quire"),
        url("postgres", "?ssl=true"),
        url("postgres", "?ssl=1"),
        url("postgres", "?sslmode=Require"),
        url("postgres", "?sslmode="),
        url("postgres", "?application_name=%XXfoo"),
        url("postgres", "?application_name=a%20b"),
        url("postgres", "?options=-c%20statement_timeout%3D77ms"),
        url("postgres", "?options=-c statement_timeout=77ms"),
        url("postgres", "?nonsense=1"),
        url("by_scram:scram%20secret", ""),
        url("by_password:plain%20secret", "?sslmode=require"),
        url("by_scram:wrong", ""),
        url("tls_only", ""),
        url("tls_only", "?sslmode=disable"),
        url("tls_only", "?sslmode=allow"),
        url("plain_only", ""),
        url("plain_only", "?sslmode=require"),
        url("nobody_at_all", ""),
        url("postgres", "?sslmode=verify-ca"),
        url("postgres", "?sslmode=verify-full"),
        url("postgres", &format!("?sslmode=verify-ca&sslrootcert={certificate}")),
        url("postgres", &format!("?{full}")),
        url("postgres", &format!("?sslmode=require&sslrootcert={home}/ca.crt")),
        url("postgres", &format!("?sslmode=prefer&sslrootcert={home}/ca.crt")),
        format!("postgres://postgres@localhost:{port}/postgres?hostaddr=127.0.0.1&{full}"),
        url("by_cert", &format!("?sslcert={home}/client.crt&sslkey={home}/client.key")),
        url("by_cert", ""),
        url("by_cert", &format!("?sslcert={home}/client.crt&sslkey={home}/client.key&sslmode=disable")),
        words(""),
        words("sslmode = require"),
        words("sslmode\t=\n'require'"),
        words("sslmode=re\\quire"),
        words("sslmode='require"),
        words("sslmode require"),
        words("SSLMODE=require"),
        words("password=a\\ b connect_timeout=5 keepalives=1 keepalives_idle=30 tcp_user_timeout=9000"),
        words("gssencmode=disable channel_binding=disable target_session_attrs=any client_encoding=UTF8"),
        words("ssl_min_protocol_version=TLSv1.3 sslsni=0"),
        words("connect_timeout=soon"),
        words("hostaddr=::1"),
        format!("hostaddr=127.0.0.1 port={port} user=postgres"),
        format!("postgres://postgres@[::1]:{port}/postgres"),
        format!("postgres://postgres@:{port}/postgres?host={home}"),
        format!("postgres://postgres@{encoded}:{port}/postgres?sslmode=require"),
        format!("postgres:///postgres?host=%40wireprof-{}&port={port}&user=postgres", std::process::id()),
        format!("host=127.0.0.1 port={port}"),
        format!("host=127.0.0.1 port={port} dbname=postgres user="),
        "postgres://postgres@127.0.0.1:99999/postgres".to_string(),
        "postgres://postgres@[::1:5432/postgres".to_string(),
        "postgres://postgres@127.0.0.1:1/postgres".to_string(),
    ]
    .map(row)
    .into();
    rows.extend([
        row(url("postgres", "?sslmode=require&sslmode=disable")).refused_by("sslmode"),
        row(url("postgres", "?sslrootcert=system&sslmode=prefer")).refused_by("sslmode"),
        row(url("postgres", "?sslrootcert=/nonexistent&sslmode=require")).refused_by("sslrootcert"),
        row(url("by_scram:scram%20secret", "?channel_binding=require&sslmode=require")).refused_by("channel_binding"),
        row(url("postgres", "?target_session_attrs=read-write")).refused_by("target_session_attrs"),
        row(url("postgres", "?gssencmode=require")).refused_by("gssencmode"),
        row(url("postgres", "?require_auth=scram-sha-256")).refused_by("require_auth"),
        row(words("replication=database")).refused_by("replication"),
        row(words("client_encoding=LATIN1")).refused_by("client_encoding"),
        row(format!("host=127.0.0.1,127.0.0.1 port={port} user=postgres")).refused_by("host"),
        row(format!("postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/postgres")).refused_by("host"),
    ]);
    rows.extend(environments(bench));
    rows.extend(passwords(bench));
    rows
}

/// What the environment and the service file fill in.
fn environments(bench: &Bench) -> Vec<Row> {
    let port = bench.tls.port;
    let here = |string: &str| row(string).with("PGHOST", "127.0.0.1").with("PGPORT", port);
    let service = bench.home.path().join("services");
    let group = format!(
        "# one\n[other]\nhost=nowhere.invalid\n[app]\nhost=127.0.0.1\nport={port}\nuser=postgres\nsslmode=disable\n"
    );
    fs::write(&service, group).unwrap();
    let named = |string: &str| row(string).with("PGSERVICEFILE", service.display());
    vec![
        here("postgres://").with("PGUSER", "postgres").with("PGDATABASE", "template1"),
        here("").with("PGUSER", "postgres").with("PGSSLMODE", "disable"),
        here("user=postgres").with("PGSSLMODE", "Disable"),
        here("user=postgres").with("PGSSLMODE", ""),
        here("user=tls_only dbname=postgres").with("PGSSLMODE", "disable"),
        here("user=postgres")
            .with("PGOPTIONS", "-c statement_timeout=66ms")
            .with("PGAPPNAME", "x y")
            .with("PGTZ", "Asia/Tokyo"),
        here("user=postgres").with("PGHOSTADDR", "::1"),
        here("user=postgres").with("PGCONNECT_TIMEOUT", "soon"),
        here("user=postgres").with("PGREQUIRESSL", "1"),
        here("user=postgres").with("PGTARGETSESSIONATTRS", "read-write").refused_by("PGTARGETSESSIONATTRS"),
        here("user=postgres").with("PGCHANNELBINDING", "often"),
        here("").with("USER", "postgres").with("LOGNAME", "postgres"),
        row(format!("port={port} user=postgres")).with("PGHOST", bench.home.path().display()),
        named("service=app"),
        named("postgres:///template1?service=app"),
        named("").with("PGSERVICE", "app").with("PGSSLMODE", "require"),
        named("service=app sslmode=require"),
        named("service=missing"),
        row("service=app").with("PGSERVICEFILE", "/nonexistent"),
    ]
}

/// Where passwords come from.
fn passwords(bench: &Bench) -> Vec<Row> {
    let port = bench.tls.port;
    let file = |name: &str, text: &str, mode: u32| {
        let path = bench.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let good = format!("# all\nother:*:*:*:no\n127.0.0.1:{port}:*:by\\_scram:scram secret\r\n*:*:*:*:no\n");
    let home = bench.home.path().display();
    let socket = format!("localhost:*:*:*:no\n{home}:{port}:postgres:by_scram:scram\\ secret:more\n");
    let (good, open) = (file("good", &good, 0o600), file("open", &good, 0o640));
    let socket = file("socket", &socket, 0o400);
    let url = |user: &str| format!("postgres://{user}@127.0.0.1:{port}/postgres");
    vec![
        row(url("by_scram")).with("PGPASSWORD", "scram secret"),
        row(url("by_scram")).with("PGPASSWORD", "wrong"),
        row(url("by_scram:scram%20secret")).with("PGPASSWORD", "wrong"),
        row(url("by_scram:")).with("PGPASSWORD", "scram secret"),
        row(url("by_scram")),
        row(url("by_scram")).with("PGPASSFILE", &good),
        row(url("by_scram:")).with("PGPASSFILE", &good),
        row(url("by_scram")).with("PGPASSFILE", &good).with("PGPASSWORD", ""),
        row(format!("{}?passfile={good}", url("by_scram"))),
        row(url("by_scram")).with("PGPASSFILE", &open),
        row(url("by_scram")).with("PGPASSFILE", &good).with("PGPASSWORD", "wrong"),
        row(format!("postgres://by_scram@/postgres?host={home}&port={port}")).with("PGPASSFILE", &socket),
        row(format!("postgres://by_scram@localhost:{port}/postgres?hostaddr=127.0.0.1")).with("PGPASSFILE", &good),
        row(format!("{}?pass%77ord=scram%20secret", url("by_scram"))),
        row(format!("host=127.0.0.1 port={port} user=by_scram dbname=postgres password = scram\\ secret")),
    ]
}

/// The table of the server without TLS: nothing that asks for it may connect.
fn without_tls(bench: &Bench) -> Vec<Row> {
    let port = bench.plain.port;
    let url = |rest: &str| row(format!("postgres://postgres@127.0.0.1:{port}/postgres{rest}"));
    let words = |rest: &str| row(format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {rest}"));
    vec![
        url(""),
        url("?sslmode=allow"),
        url("?sslmode=require"),
        url("?%73slmode=require"),
        url("?ssl=true"),
        url("?sslmode=verify-ca"),
        url("").with("PGSSLMODE", "require"),
        url("").with("PGREQUIRESSL", "1"),
        url("?sslmode=prefer").with("PGSSLMODE", "require"),
        words("sslmode = require"),
        words("sslmode=disable sslmode=require"),
        words("options='-c statement_timeout=5s' sslmode = 'require'"),
        words("application_name='sslmode=require'"),
    ]
}

#[test]
fn settings_mean_what_they_mean_to_libpq() {
    let Some(bench) = Bench::start() else { return };
    let rows: Vec<Row> = with_tls(&bench).into_iter().chain(without_tls(&bench)).collect();
    let (mut wrong, mut reached) = (Vec::new(), 0);
    for row in &rows {
        let (libpq, ours) = (bench.libpq(row), bench.ours(row));
        let told = |name: &str| ours.as_ref().is_err_and(|error| error.contains(name));
        let right = match (&libpq, &ours, row.refused) {
            (_, _, Some(name)) if told(name) => true,
            (Ok(libpq), Ok(ours), None) => Bench::alike(libpq, ours),
            (Err(_), Err(_), None) => true,
            _ => false,
        };
        reached += usize::from(libpq.is_ok() && ours.is_ok());
        if !right {
            wrong.push(format!("{:?} {:?}\n  libpq: {libpq:?}\n  ours:  {ours:?}", row.string, row.environment));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() > 100 && reached > 45, "{} rows, {reached} connections", rows.len());
}

/// Files below a directory, unpacked where they are gzip.
fn contents(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let mut unpacked = Vec::new();
        let read = std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut unpacked);
        found.push((path, if read.is_ok() { unpacked } else { bytes }));
    }
}

#[test]
fn a_password_is_neither_printed_nor_stored_nor_logged() {
    let Some(server) = Postgres::start("") else { return };
    let port = server.port;
    let words = |rest: &str| format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {rest}");
    for (url, stored) in [
        (words("password = S3CR"), true),
        (words("password=a\\ S3CR"), true),
        (format!("postgres://postgres@127.0.0.1:{port}/postgres?pass%77ord=S3CR"), true),
        (words("password='a S3CR"), false),
        (words("pasword=S3CR"), false),
        (format!("postgres://postgres:a@S3CR@127.0.0.1:{port}/postgres"), false),
        (format!("postgres://postgres:1/S3CR@127.0.0.1:{port}/postgres"), false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let mut wireprof = Command::new(env!("CARGO_BIN_EXE_wireprof"));
            wireprof.current_dir(directory.path()).args(["--runs", "runs"]).args(arguments);
            let done = wireprof.env("HOME", directory.path()).output().unwrap();
            let printed =
                [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
            assert!(!printed.contains("S3CR"), "{url}: {printed}");
            (done.status.code(), printed)
        };
        let (code, printed) = run(&[
            "sweep",
            "--preset",
            "generic",
            "--no-sampling",
            "--no-metrics",
            "--levels",
            "1",
            "--window",
            "500ms",
            "--query",
            "select 1",
            "--url",
            &url,
        ]);
        // 1: a check did not like the machine's other load.
        let expected: &[i32] = if stored { &[0, 1] } else { &[2] };
        assert!(code.is_some_and(|code| expected.contains(&code)), "{url}: {printed}");
        if stored {
            let (code, printed) = run(&["log", "new", "latest", "--title", "t", "--log", "log.md"]);
            assert_eq!(code, Some(0), "{printed}");
        }
        let mut found = Vec::new();
        contents(directory.path(), &mut found);
        assert_eq!(found.is_empty(), !stored, "{url}");
        for (path, bytes) in found {
            assert!(!bytes.windows(4).any(|part| part == b"S3CR"), "{url}: {}", path.display());
        }
    }
}

#[test]
fn a_sweep_without_a_server_is_a_wrong_use() {
    let done = Command::new(env!("CARGO_BIN_EXE_wireprof")).args(["sweep", "--query", "select 1"]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("which server? give --url"));
}
