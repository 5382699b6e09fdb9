//! The load: N pre-authenticated connections that repeat a workload, and what they saw.

mod administration;
mod connect;
mod dbbench;
mod dbbench_output;
mod driver;
mod error;
mod event_loop;
mod foreign;
mod interrupt;
mod lane;
mod latencies;
mod latency_log;
mod mix;
mod pgwire;
mod plan;
mod probe;
mod record;
mod results;
mod scanner;
mod shared;
mod tally;
mod thread_id;
mod timer;
mod tls;
mod trace;
mod transaction;
mod transactions;
mod transport;

pub use administration::{check, connect, connect_told};
pub use dbbench::DbbenchDriver;
pub use dbbench_output::{Bucket, DbbenchJob, parse_output};
pub use driver::{Driver, Load};
pub use error::LoadError;
pub use foreign::{ClientCount, ForeignDriver};
pub use latencies::Latencies;
pub use latency_log::{read_latency_log, write_latency_log};
pub use pgwire::{Options, PgwireDriver};
pub use plan::Protocol;
pub use probe::run_script;
pub use trace::*;
pub use transactions::{ScriptCount, Transactions};

pub use crate::connection::Address;
