//! What a preset holds. Every section may be left out: an absent one is inherited, or empty in a preset without parent.

use super::{
    Checks, Computed, Expression, Nested, Recognised, Step, Unit, Wait, WaitEventTable, WrittenChecks, WrittenNode,
};
use crate::metrics::{MetricsDelta, Selector};
use crate::profile::Folding;
use crate::statements::{LockQuery, Reader};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// All that is particular to a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preset {
    /// The file's stem; not written in the file.
    #[serde(skip)]
    pub name: String,
    /// One sentence for the user: which kind of server this is for. Inherited where it is empty.
    pub description: String,
    /// The preset that sections left out are taken from.
    pub inherits: Option<String>,
    /// How the kind of server is recognised by what it says; not inherited.
    pub recognised: Recognised,
    /// Where the server listens.
    pub connect: Connect,
    /// How to find the server's process.
    pub process: Process,
    /// What is sent to the server where the user does not say.
    pub workload: Workload,
    /// What is changed on the server before the load, in this order.
    pub setup: Vec<Step>,
    /// Which statement statistics are read.
    pub statements: Statements,
    /// Named sets of functions.
    pub focus: Vec<FocusPatterns>,
    /// Frames of runtimes, which tables and pictures leave out unless all are asked for; the inherited ones included.
    #[serde(alias = "plumbing")]
    pub runtime: Vec<Pattern>,
    /// Metrics wanted that no expression mentions; see [`Preset::wanted`].
    pub metric: Vec<Wanted>,
    /// Figures computed from metrics.
    pub quantity: Vec<Computed>,
    /// How the server's metrics divide a place, in the order in which they are shown.
    #[serde(skip)]
    pub node: Vec<Nested>,
    /// The text of the file that it was read from; `None`: it is compiled in.
    #[serde(skip)]
    pub text: Option<String>,
    /// The nodes of this file alone, until the quantities that they name are found.
    #[serde(rename = "node")]
    pub(super) written: Vec<WrittenNode>,
    /// What is left of a place or node when its parts are taken away, in words, by its key.
    #[serde(alias = "rest")]
    pub residual: BTreeMap<String, String>,
    /// Checks that are particular to the server, the inherited ones included.
    #[serde(skip)]
    pub checks: Checks,
    /// The checks of this file alone, likewise.
    #[serde(rename = "checks", alias = "guards")]
    pub(super) written_checks: WrittenChecks,
    /// How to see whether reads see acknowledged writes; `None`: as any PostgreSQL does.
    pub freshness: Option<Freshness>,

    /// Workloads from the least to the whole, for a ladder.
    pub rung: Vec<Rung>,

    /// What a diagnosis looks at.
    pub diagnosis: Diagnosis,
    /// How stacks of waits tell what is waited for; the first entry that fits counts.
    pub wait: Vec<Wait>,
    /// How stacks tell who ends a wait; the first entry that fits counts.
    pub ender: Vec<Ender>,
    /// Where the server's threads say what they wait for; `None`: they do not.
    pub wait_events: Option<WaitEventTable>,
    /// How the server is asked who waits for which lock; `None`: it cannot be.
    pub locks: Option<LockQuery>,
    /// What a diagnosis may conclude; a cause without a rule is not looked for.
    pub rule: Vec<Rule>,
}

impl Preset {
    /// The metrics wanted, each once: logged once a second, and said to be missing where the server lacks them. They
    /// are those that the preset's expressions name, the optional ones left out, and those that it lists itself.
    pub fn wanted(&self) -> Vec<&Selector> {
        let workers = self.diagnosis.workers.iter().map(|workers| &workers.count);
        let expressions = self.workload.query_count.iter().chain(self.figures()).chain(self.checked()).chain(workers);
        let listed = self.metric.iter().map(|wanted| &wanted.selector);
        let mut seen = BTreeSet::new();
        expressions
            .flat_map(Expression::selectors)
            .chain(listed)
            .filter(|selector| seen.insert(selector.to_string()))
            .collect()
    }

    /// The frames that tables and pictures leave out.
    pub fn folding(&self) -> Folding {
        Folding::of(&self.runtime.iter().map(|pattern| pattern.0.clone()).collect::<Vec<_>>())
    }

    /// Of the round trips behind the server, the hop and the statements of those that a node consists of; `None`: no
    /// node says which.
    pub fn use_behind(&self) -> Option<(&str, &Pattern)> {
        self.node.iter().find_map(|node| node.hop.as_deref().zip(node.of_use.as_ref()))
    }

    fn figures(&self) -> impl Iterator<Item = &Expression> {
        let quantities = self.quantity.iter().filter(|quantity| !quantity.optional);
        let nodes = self.node.iter().filter(|node| !node.optional).filter_map(|node| node.known.metrics());
        quantities.map(|quantity| &quantity.expression).chain(nodes.map(|timed| &timed.expression))
    }

    fn checked(&self) -> impl Iterator<Item = &Expression> {
        let churn = self.checks.churn.iter().flat_map(|check| [&check.value, &check.at_most]);
        self.checks.focus.iter().map(|check| &check.value).chain(churn)
    }

    /// The metrics wanted of which the server exports no series, for the run's notes.
    pub fn absent<'a>(&'a self, metrics: &MetricsDelta) -> Vec<&'a Selector> {
        let mut wanted = self.wanted();
        wanted.retain(|selector| selector.find(metrics).next().is_none());
        wanted
    }
}

/// Where the server listens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connect {
    /// The connection under load.
    pub url: Option<String>,
    /// The administrator's connection, for set-up.
    pub internal: Option<String>,
    /// The metrics' URL.
    pub metrics: Option<String>,
}

/// How to find the process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Names (`/proc/PID/comm`) that the process listening on the connection under load is expected to have; another
    /// one is measured all the same, and said.
    pub names: Vec<String>,
    /// Child processes belong to the target (a server with a process per connection).
    pub children: Option<bool>,
    /// Names of processes to account CPU to besides the target (the database behind, say).
    #[serde(alias = "others")]
    pub companions: Vec<String>,
}

/// The load, where the user does not say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// The query where the user gives none.
    pub query: Option<String>,
    /// Queries as the server counts them, for drivers whose own window cannot be cut.
    #[serde(alias = "divisor")]
    pub query_count: Option<Expression>,
}

/// One rung of a ladder of workloads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// The rung's name, as reports show it.
    pub name: String,
    /// What is repeated, an empty statement too; `None`: the workload itself.
    pub statement: Option<String>,
    /// SQL for each connection of the load when it is opened.
    #[serde(default)]
    pub session: Vec<String>,
}

/// Which statement statistics are read, from where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Statements {
    /// `auto`, `pg_stat_statements`, `cockroachdb`, `cockroachdb_node`; `None`: none unless the user names a database.
    pub reader: Option<Reader>,
    /// The statistics wanted are those of a database behind the server, not of the server itself.
    pub behind: Option<bool>,
    /// Fingerprints of statements to show whatever their rank; `_` and `$1` stand for any constant or parameter.
    pub watched: Vec<String>,
}

/// A named set of functions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FocusPatterns {
    /// What the user calls it by (`--focus NAME`).
    pub name: String,
    /// What the functions do, in words.
    pub description: String,
    /// A stack is inside where one of its frames' names matches one of these.
    pub patterns: Vec<Pattern>,
}

/// A metric wanted. What its values are is for the reader of the preset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The series wanted: a metric's name, with labels where only some of its series are wanted.
    pub selector: Selector,
    /// Unit of the values; `None`: the preset does not say.
    pub unit: Option<Unit>,
    /// What a value is per; `None`: the preset does not say.
    pub per: Option<Per>,
}

/// What a value is per.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// One query of the workload.
    Query,
    /// One call of the function or request that the server's metric counts.
    Call,
    /// One call that several queries share.
    Batch,
    /// The whole window.
    Window,
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Per::Query => "query",
            Per::Call => "call",
            Per::Batch => "batch",
            Per::Window => "window",
        })
    }
}

/// How to write a row and read it back on another connection. `{table}` stands for a table of the probe's own, `{n}`
/// for the number to write.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Freshness {
    /// Make the table, with one column of whole numbers.
    pub create: Vec<String>,
    /// Writes the number `{n}`.
    pub write: String,
    /// Answers the numbers written, in the first column.
    pub read: String,
    /// Drops the table.
    pub drop: String,
    /// Answers the isolation level of the session.
    pub isolation: String,
    /// Isolation levels under which a read sees every write that was acknowledged before it began; empty: all.
    pub fresh: Vec<String>,
}

impl Default for Freshness {
    fn default() -> Self {
        Freshness {
            create: vec!["CREATE TABLE {table} (n int8)".into()],
            write: "INSERT INTO {table} VALUES ({n})".into(),
            read: "SELECT * FROM {table}".into(),
            drop: "DROP TABLE IF EXISTS {table}".into(),
            isolation: "SHOW transaction_isolation".into(),
            fresh: Vec::new(),
        }
    }
}

/// What a diagnosis looks at in addition to what every server has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Diagnosis {
    /// The round trip to what stands behind the server.
    pub behind: Option<Behind>,
    /// The threads that run the server's tasks.
    pub workers: Option<Workers>,
    /// Name of the focus that holds the allocator's functions.
    pub allocator: Option<String>,
    /// Functions that are never named as a cause: what they cost counts for their callers.
    pub helpers: Vec<Pattern>,
    /// Functions of the kernel that carry messages: what they cost is no function's of the server, for every query
    /// needs it.
    pub transport: Vec<Pattern>,
    /// Functions of the kernel in which a thread waits for messages: what they cost is no function's either.
    pub polling: Vec<Pattern>,
    /// Functions in which a thread waits for a lock.
    pub locks: Vec<Pattern>,
    /// Functions through which tasks and threads wait, of runtimes and their libraries: a wait in them is their
    /// callers'.
    pub waiting: Vec<Pattern>,
    /// Functions of an async runtime that poll a task; the first of their type arguments is the task's future.
    pub polls: Vec<Pattern>,
}

/// Who ends a wait, where its stack tells.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ender {
    /// In words, as the end of a sentence that begins with `ended by`.
    pub name: String,
    /// One of its frames matches one of these.
    pub functions: Vec<Pattern>,
}

/// The server's own figures of a round trip behind it, as names of quantities, times unless they are counts; of
/// several the first that was measured counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// As sentences name it: `the oracle's database`.
    pub name: String,
    /// Names of its processes, among those that are watched besides the server; `None`: not known, so that its time is
    /// not taken to be CPU of this machine.
    pub processes: Option<Pattern>,
    /// A round trip, from the call to its return.
    pub call: Vec<String>,
    /// What one query waits for it; more than a call where calls are shared or queued for.
    pub wait: Vec<String>,
    /// Round trips in the window (a count).
    pub calls: String,
    /// Calls under way at once, on average (a count); `None`: the server does not tell.
    pub slots: Option<String>,
    /// Calls that may be under way at once (a count); `None`: the preset knows no limit.
    pub slots_limit: Option<f64>,
    /// What a round trip waits for a connection of the pool.
    pub pool: Option<String>,
    /// Functions in which queries wait for it: these figures say what of such a wait is spent on what.
    #[serde(default)]
    pub functions: Vec<Pattern>,
}

/// The worker threads of the server's runtime.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Names of the threads.
    pub threads: Pattern,
    /// How many there are.
    pub count: Expression,
    /// Name of the quantity: time a query that they were inside a task, on a CPU or not.
    pub busy: String,
}

/// Why queries take as long as they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Another code path was measured than the one in focus.
    SlowPath,
    /// Sessions came and went.
    Churn,
    /// The load generator cannot ask faster.
    Generator,
    /// Processes that are no part of the measurement take the CPUs.
    OtherProcesses,
    /// One function of the server takes much of the CPU.
    CpuFunction,
    /// The functions of the focus that `Diagnosis::allocator` names take much of the CPU.
    Allocator,
    /// One thread of the server is always on a CPU.
    SaturatedThread,
    /// Threads wait for each other.
    Lock,
    /// Threads wait for a lock of the server's own on its shared structures.
    LightweightLock,
    /// Transactions wait for each other.
    RowLock,
    /// Queries wait until what they wrote is on the disk.
    Flush,
    /// Queries wait for files to be read or written.
    Disk,
    /// The server sleeps while it has queries in its hands.
    Sleep,
    /// Calls that block hold the runtime's worker threads.
    BlockedRuntime,
    /// The database behind takes long.
    DatabaseService,
    /// The way to the database behind takes long, or the server's own call path.
    DatabasePath,
    /// The database behind waits for a CPU.
    DatabaseStarved,
    /// Queries wait for the next shared call.
    BatchQueue,
    /// All shared calls that may be under way are.
    Slots,
    /// Calls wait for a connection of the pool.
    Pool,
    /// The network between the load's host and the server's takes long.
    NetworkBetweenHosts,
    /// What carries queries in the server's hands waits, at a function of the program.
    Wait,
    /// Tasks that carry queries are ready and wait for a worker of the runtime.
    Queued,
    /// The server may use few of the machine's CPUs, and uses all of these.
    CpuLimit,
    /// All CPUs are busy, and no single function is why.
    CpuSaturated,
    /// None of the other causes explains enough of the latency.
    NoSingleCause,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::SlowPath => "slow path measured",
            Cause::Churn => "churn artefact",
            Cause::Generator => "generator-bound",
            Cause::OtherProcesses => "other processes take the CPUs",
            Cause::CpuFunction => "CPU in one function",
            Cause::Allocator => "allocator",
            Cause::SaturatedThread => "one saturated thread",
            Cause::Lock => "lock",
            Cause::LightweightLock => "lightweight lock",
            Cause::RowLock => "lock of another transaction",
            Cause::Flush => "flush to disk",
            Cause::Disk => "reading and writing files",
            Cause::Sleep => "sleep in the server",
            Cause::BlockedRuntime => "runtime starved by blocking calls",
            Cause::DatabaseService => "the database's service time",
            Cause::DatabasePath => "the way to the database, or the call path",
            Cause::DatabaseStarved => "database starved of CPU",
            Cause::BatchQueue => "queue for the next shared call",
            Cause::Slots => "slots of shared calls",
            Cause::Pool => "pool of connections",
            Cause::NetworkBetweenHosts => "the network between the hosts",
            Cause::Wait => "a wait in the server's hands",
            Cause::Queued => "ready tasks wait for a worker",
            Cause::CpuLimit => "few CPUs for the server",
            Cause::CpuSaturated => "CPU saturated",
            Cause::NoSingleCause => "no single cause",
        })
    }
}

/// When a cause may be concluded, and what to do then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The cause that the rule is about.
    pub cause: Cause,
    /// Least share of the mean latency that the attributed effect must have, 0..1.
    #[serde(default)]
    pub share: f64,
    /// Least value of what the cause is recognised by; a comment in the preset says what that is.
    #[serde(default)]
    pub threshold: f64,
    /// What would show that it is not the cause.
    pub refuted_by: String,
    /// What to try.
    pub next: String,
}

/// A regular expression that is searched for anywhere in a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(pub Regex);

/// Patterns are the same where their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Pattern, String> {
        Regex::new(&text).map(Pattern).map_err(|e| format!("`{text}` is no regular expression: {e}"))
    }
}
