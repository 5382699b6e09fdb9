//! The names of wait events against a real PostgreSQL: the number that each of its processes keeps is read from its
//! memory, and the name that the preset gives it is the one that the server shows. And who waits for which lock.

use crate::postgres::Postgres;
use crate::skip::{skip, skip_in_part};
use crate::sweeps::is_root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};
use wireprof::elf::symbol_address;
use wireprof::preset::{Preset, WaitEvents};
use wireprof::statements::{LockQuery, StatementsError, sample_locks};

fn preset() -> Preset {
    Preset::built_in("postgres").unwrap()
}

/// Load runs on a thread of its own, so that who looks does not hold it up.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn connect(server: &Postgres, user: &str) -> Client {
    let (client, connection) = server.address(user).config().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn rows(client: &Client, query: &str) -> Vec<SimpleQueryRow> {
    let messages = client.simple_query(query).await.unwrap();
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// Statements that sessions repeat until it is dropped.
struct Load(Vec<tokio::task::JoinHandle<()>>);

impl Load {
    async fn start(server: &Postgres, sessions: usize, statement: &str) -> Load {
        let mut tasks = Vec::new();
        for _ in 0..sessions {
            let (client, statement) = (connect(server, "postgres").await, statement.to_string());
            tasks.push(tokio::spawn(async move { while client.batch_execute(&statement).await.is_ok() {} }));
        }
        Load(tasks)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(|task| task.abort());
    }
}

/// A process of the server, whose number is read from its memory.
struct Watched {
    memory: File,
    address: u64,
}

impl Watched {
    /// `None`: it is gone.
    fn new(pid: u32, variable: &str) -> Option<Watched> {
        let variable = symbol_address(pid, variable).ok()?.expect("every PostgreSQL since 14 exports it");
        let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        let mut pointer = [0; 8];
        memory.read_exact_at(&mut pointer, variable).ok()?;
        Some(Watched { memory, address: u64::from_ne_bytes(pointer) })
    }

    fn number(&self) -> Option<u32> {
        let mut value = [0; 4];
        self.memory.read_exact_at(&mut value, self.address).ok()?;
        Some(u32::from_ne_bytes(value))
    }
}

/// Of each number that a process had before and after it was shown, how often it was shown under which name.
type Shown = BTreeMap<u32, BTreeMap<String, usize>>;

/// Fewer looks tell nothing of a number.
const LOOKS: usize = 10;

/// Looks at the server's processes for this long.
async fn look(client: &Client, variable: &str, lasting: Duration, shown: &mut Shown) {
    let query = "select pid, wait_event_type || ':' || wait_event from pg_stat_activity where pid <> pg_backend_pid()";
    let end = Instant::now() + lasting;
    let pids = rows(client, query).await;
    let pids = pids.iter().map(|row| row.get(0).unwrap().parse().unwrap());
    let watched: BTreeMap<u32, Watched> = pids.filter_map(|pid| Some((pid, Watched::new(pid, variable)?))).collect();
    while Instant::now() < end {
        let before: BTreeMap<u32, Option<u32>> = watched.iter().map(|(pid, at)| (*pid, at.number())).collect();
        for row in rows(client, query).await {
            let pid: u32 = row.get(0).unwrap().parse().unwrap();
            let Some(at) = watched.get(&pid) else { continue };
            let Some(info) = at.number().filter(|info| before[&pid] == Some(*info)) else { continue };
            let name = row.get(1).unwrap_or("none").to_string();
            *shown.entry(info).or_default().entry(name).or_default() += 1;
        }
    }
}

/// Of each number that was seen often enough: its name by the preset, how often it was shown so, and how often at all.
fn often<'a>(shown: &'a Shown, events: &'a WaitEvents) -> impl Iterator<Item = (u32, String, usize, usize)> + 'a {
    let often = shown.iter().filter(|(_, names)| names.values().sum::<usize>() >= LOOKS);
    often.map(|(info, names)| {
        let name = events.name(*info).map_or("none".to_string(), |name| name.to_string());
        let own = names.get(&name).copied().unwrap_or(0);
        (*info, name, own, names.values().sum())
    })
}

/// Names of numbers that were shown so five times as often as other numbers were, in small letters: 17 and later write
/// them otherwise. A session that is often at one wait is met there before and after a look that shows another wait.
fn met(shown: &Shown, events: &WaitEvents) -> BTreeSet<String> {
    let as_often = |(info, name, own, all): &(u32, String, usize, usize)| {
        let others = || shown.iter().filter(|(other, _)| *other != info).map(|(_, names)| names);
        let named: usize = others().filter_map(|names| names.get(name)).sum();
        let looks: usize = others().flat_map(BTreeMap::values).sum();
        own * looks > 5 * named * all
    };
    often(shown, events).filter(as_often).map(|(_, name, ..)| name.to_lowercase()).collect()
}

/// What each session waits for here is told by the statement; the server's own processes wait beside it.
const PROVOKED: [(usize, &str, &[&str]); 6] = [
    (8, "update counters set v = v + 1 where k = 1", &["Lock:transactionid", "Lock:tuple", "Client:ClientRead"]),
    (8, "insert into notes values (1)", &["IO:WALSync", "LWLock:WALWrite"]),
    (3, "select pg_advisory_lock(7), pg_sleep(0.02), pg_advisory_unlock(7)", &["Lock:advisory", "Timeout:PgSleep"]),
    (3, "select count(*) from large", &["IO:DataFileRead"]),
    (4, "select count(pg_current_xact_id()) from large where n < 200; truncate emptied", &["Lock:relation"]),
    (8, "update counters set v = v + 1 where k = (random() * 99)::int + 1", &[]),
];

const OWN: [&str; 6] = [
    "Activity:BgWriterMain",
    "Activity:BgWriterHibernate",
    "Activity:CheckpointerMain",
    "Activity:WalWriterMain",
    "Activity:AutoVacuumMain",
    "Activity:LogicalLauncherMain",
];

fn made() -> Option<Postgres> {
    let server = Postgres::start("fsync = on\nautovacuum = on\nmax_parallel_workers_per_gather = 0")?;
    server.run(&[
        "create table counters (k int primary key, v int)",
        "insert into counters select k, 0 from generate_series(1, 100) k",
        "create table notes (n int)",
        "create table emptied (n int)",
        "create table large as select n, repeat('x', 400) pad from generate_series(1, 150000) n",
        "checkpoint",
    ]);
    Some(server)
}

#[test]
fn the_number_in_a_processs_memory_has_the_name_that_the_server_shows() {
    if !is_root() {
        return skip("the memory of another user's processes is root's to read");
    }
    let Some(server) = made() else { return };
    let table = preset().wait_events.unwrap();
    let major: u32 = server.value("select current_setting('server_version_num')::int / 10000").parse().unwrap();
    let events = table.for_version(major);
    assert_eq!(events.without_names(), None, "version {major}");
    let mut shown = Shown::new();
    runtime().block_on(async {
        let client = connect(&server, "postgres").await;
        for (sessions, statement, expected) in PROVOKED {
            let load = Load::start(&server, sessions, statement).await;
            // A short wait is met seldom where the host is busy.
            for _ in 0..20 {
                look(&client, &table.variable, Duration::from_secs(1), &mut shown).await;
                let met = met(&shown, &events);
                if expected.iter().all(|name| met.contains(&name.to_lowercase())) {
                    break;
                }
            }
            drop(load);
        }
    });
    for (info, name, own, all) in often(&shown, &events) {
        // Between two looks at one number a process can have had another.
        assert!(own * 5 >= all, "{info:#010x} is {name}, and was shown as {:?}", shown[&info]);
    }
    let met = met(&shown, &events);
    println!("met: {met:?}");
    let expected = PROVOKED.iter().flat_map(|(.., expected)| *expected);
    let missing: Vec<_> = expected.filter(|name| !met.contains(&name.to_lowercase())).collect();
    assert!(missing.is_empty(), "{missing:?} not met, but {shown:#?}");
    let own = OWN.iter().filter(|name| met.contains(&name.to_lowercase())).count();
    assert!(own >= 4, "of the server's own processes: {met:?}");
}

#[test]
fn the_lists_of_names_are_what_the_installed_program_gives() {
    let Some(program) = crate::postgres::program() else {
        return skip("no PostgreSQL server found; install the package `postgresql`");
    };
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/scripts/wait-events")).arg(&program).output().unwrap();
    let (told, why) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return skip(format!("scripts/wait-events cannot ask: {why}"));
    }
    let version = told.split("of version ").nth(1).unwrap().split(['.', ' ']).next().unwrap();
    let path = format!("{root}/presets/wait-events/postgres-{version}.toml");
    let Ok(kept) = std::fs::read_to_string(&path) else {
        return skip_in_part(format!("the installed version {version} has no list"));
    };
    let parse = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(parse(&told), parse(&kept), "{path}");
}

#[test]
fn the_table_of_a_row_that_clients_wait_for_is_named_and_its_holders_are_sessions() {
    let Some(server) = made() else { return };
    let asked = preset().locks.unwrap();
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let every = Duration::from_millis(50);
    runtime().block_on(async {
        let client = connect(&server, "postgres").await;
        let quiet = sample_locks(&client, &asked, every, second()).await.unwrap();
        assert!(quiet.locks.is_empty() && quiet.readings > 5, "{quiet:?}");
        let load = Load::start(&server, 8, "update counters set v = v + 1 where k = 1").await;
        let busy = sample_locks(&client, &asked, every, second()).await.unwrap();
        drop(load);
        let waiting: f64 = busy.locks.iter().map(|sum| busy.mean(sum).unwrap()).sum();
        // How many wait at a time is the machine's: where waking is slow, many are on their way.
        assert!(waiting > 1.0 && waiting < 8.0, "of 8 clients one never waits: {busy:#?}");
        let named: u64 = busy.locks.iter().filter(|sum| sum.lock.table().is_some()).map(|sum| sum.waiters).sum();
        let all: u64 = busy.locks.iter().map(|sum| sum.waiters).sum();
        // PostgreSQL reads its partitions of locks one after the other, so a waiter's own locks can be in none.
        assert!(named * 2 > all, "{busy:#?}");
        for sum in busy.locks.iter().filter(|sum| sum.lock.table().is_some()) {
            assert_eq!(sum.lock.table(), Some("public.counters"), "{sum:?}");
            assert!(["tuple", "transactionid"].contains(&sum.lock.kind.as_str()), "{sum:?}");
            assert!(!sum.holders.is_empty(), "{sum:?}");
        }
        println!("{busy:#?}");
    });
}

#[test]
fn of_several_tables_that_a_row_can_be_of_all_are_named_and_of_one_that_is_locked_that_one() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create schema s", "create table s.a (k int primary key)", "create table s.b (k int primary key)"]);
    server.run(&["insert into s.a values (1)", "create role stranger login"]);
    let asked = preset().locks.unwrap();
    let waited = |holds: &'static str, waits: &'static str| {
        let (server, asked) = (&server, &asked);
        async move {
            let holder = connect(server, "postgres").await;
            holder.batch_execute(&format!("begin; {holds}")).await.unwrap();
            let pid: u32 = rows(&holder, "select pg_backend_pid()").await[0].get(0).unwrap().parse().unwrap();
            let waiter = connect(server, "postgres").await;
            let task = tokio::spawn(async move { waiter.batch_execute(waits).await });
            // A role without rights sees as much.
            let client = connect(server, "stranger").await;
            let found = loop {
                let found = wireprof::statements::read_locks(&client, asked).await.unwrap();
                if !found.is_empty() {
                    break found;
                }
            };
            holder.batch_execute("rollback").await.unwrap();
            task.await.unwrap().unwrap();
            let [one] = &found[..] else { panic!("{found:?}") };
            assert_eq!((one.waiters, one.holder), (1, Some(pid)));
            format!("{} {} {}", one.lock.kind, one.lock.tables.join(","), one.lock.mode)
        }
    };
    runtime().block_on(async {
        let both = "insert into s.a values (2); insert into s.b values (1)";
        let told = waited(both, "begin; insert into s.a values (3); insert into s.b values (1); rollback").await;
        assert_eq!(told, "transactionid s.a,s.b ShareLock");
        let told = waited(both, "begin; insert into s.b values (1); rollback").await;
        assert_eq!(told, "transactionid s.b ShareLock");
        let row = "insert into s.b values (1); update s.a set k = 1 where k = 1";
        let told = waited(row, "begin; insert into s.b values (2); delete from s.a; rollback").await;
        assert_eq!(told, "transactionid s.a ShareLock", "the row's own lock tells");
        let told = waited("lock table s.a in share mode", "begin; insert into s.a values (9); rollback").await;
        assert_eq!(told, "relation s.a RowExclusiveLock");
        let told = waited("select pg_advisory_xact_lock(5)", "begin; select pg_advisory_xact_lock(5); rollback").await;
        assert_eq!(told, "advisory  ExclusiveLock");
    });
}

#[test]
fn a_role_that_may_not_see_the_locks_is_told_the_grant_and_what_fails_is_said() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create role stranger login", "revoke select on pg_locks from public"]);
    let asked = preset().locks.unwrap();
    runtime().block_on(async {
        let client = connect(&server, "stranger").await;
        let ask = async |asked: &LockQuery| {
            sample_locks(&client, asked, Duration::from_millis(10), std::future::ready(())).await.unwrap_err()
        };
        let refused = ask(&asked).await;
        assert!(matches!(refused, StatementsError::Permission { .. }), "{refused}");
        assert!(refused.to_string().contains("GRANT SELECT ON pg_locks TO stranger"), "{refused}");
        for (query, why) in [
            ("select 1 from nowhere", "\"nowhere\" does not exist (SQLSTATE 42P01)"),
            ("select 'tuple', '[]', 'm', 1", "its answer has 4 columns"),
            ("select null, '[]', 'm', 1, null", "column 1 of a row is NULL"),
            ("select 'tuple', 't', 'm', 1, null", "column 2: `t` is no JSON array"),
            ("select 'tuple', '[]', 'm', 'x', null", "column 4: `x` is no number"),
        ] {
            let failed = ask(&LockQuery { query: query.into(), grant: None }).await.to_string();
            assert!(failed.contains(why), "{failed}");
        }
    });
}
