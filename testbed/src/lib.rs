//! The embedded target: a pgwire server with known bottlenecks over a real PostgreSQL.
//! It stands in for a database whose frontend answers `select * from t` after asking a timestamp oracle that is kept
//! in PostgreSQL; its functions, metrics, labels and buckets are named as there, so that presets and focus patterns
//! apply to both. Invariant: whatever slows it down on purpose is a plant, and every plant counts itself on `/metrics`.

pub mod adapter;
mod http;
mod metrics;
pub mod options;
pub mod plant;
mod postgres;
mod precise;
pub mod protocol;
mod ready;
mod scratch;
mod server;
pub mod timestamp_oracle;

pub use options::Options;
pub use postgres::{NoPostgres, find_binaries};
pub use ready::{Ready, ReadyPostgres};
pub use server::run;
