//! What to believe and what to conclude: the answer, checks of a window, the diagnosis, the machine, the summary.

pub mod answer;
pub mod checks;
pub mod companion_hosts;
pub mod diagnose;
pub mod machine;
pub mod sampling;
pub mod server_profiles;
pub mod summary;
pub mod transactions;
