//! What is wrong with a workload. Invariant: an error about a script names file, line, cause and remedy.

use std::path::PathBuf;

/// Why a workload cannot be used. All of them are mistakes of usage, none of the environment.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error("{source_name}:{line}: {problem}; {remedy}")]
    Line { source_name: String, line: usize, problem: String, remedy: String },
    #[error("{}: cannot read the workload: {cause}; give the path of a readable script, or --query", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error(
        "{level} connection(s) cannot be split over {jobs} jobs, each of which needs one; \
         take a level of at least {jobs}, or a script with fewer jobs"
    )]
    Level { level: usize, jobs: usize },
    #[error("job {job:?} {problem}; {remedy}")]
    Job { job: String, problem: String, remedy: String },
}
