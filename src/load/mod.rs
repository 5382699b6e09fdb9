//! The load: N pre-authenticated connections that repeat a workload, and what they saw.

mod address;
mod administration;
mod connect;
mod dbbench;
mod dbbench_output;
mod driver;
mod error;
mod event_loop;
mod interrupt;
mod lane;
mod latency_log;
mod password;
mod pgwire;
mod plan;
mod probe;
mod record;
mod scanner;
mod shared;
mod tally;
mod thread_clock;
mod timer;
mod tls;
mod trace;
mod transport;

pub use address::Address;
pub use administration::{check, connect};
pub use dbbench::DbbenchDriver;
pub use dbbench_output::{Bucket, DbbenchJob, parse_output};
pub use driver::{Driver, Load};
pub use error::LoadError;
pub use latency_log::{read_latency_log, write_latency_log};
pub use pgwire::{Options, PgwireDriver};
pub use plan::Protocol;
pub use probe::run_script;
pub use trace::*;
