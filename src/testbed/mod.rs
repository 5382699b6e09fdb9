//! The embedded target: a pgwire server with known bottlenecks over a real PostgreSQL.
