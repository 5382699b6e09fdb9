//! What to believe and what to conclude: checks of a window, the diagnosis, the machine, the summary.

pub mod diagnose;
pub mod guards;
pub mod machine;
pub mod summary;
