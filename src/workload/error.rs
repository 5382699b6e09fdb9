//! What is wrong with a workload. Invariant: an error about a script names file, line, cause and remedy.

use std::path::PathBuf;

/// Why a workload cannot be used. All of them are mistakes of usage, none of the environment.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A line of a script is wrong.
    #[error("{source_name}:{line}: {problem}; {remedy}")]
    Line {
        /// What the script is called in errors: its path.
        source_name: String,
        /// Line of the script, from 1.
        line: usize,
        /// What is wrong, in words.
        problem: String,
        /// How to mend it.
        remedy: String,
    },
    /// The script cannot be read, or is not UTF-8.
    #[error("{}: cannot read the workload: {cause}; give the path of a readable script, or --query", path.display())]
    Unreadable {
        /// The script's path.
        path: PathBuf,
        /// Why it cannot be read.
        cause: std::io::Error,
    },
    /// A script, or an option beside it, cannot be used as it was given.
    #[error("{script} {problem}; {remedy}")]
    Choice {
        /// The script, as it was given.
        script: String,
        /// What is wrong, in words.
        problem: String,
        /// How to mend it.
        remedy: String,
    },
    /// There are fewer connections than jobs, or none.
    #[error(
        "{level} connection(s) cannot be split over {jobs} jobs, each of which needs one; \
         take a level of at least {jobs}, or a script with fewer jobs"
    )]
    Level {
        /// Connections asked for.
        level: usize,
        /// Jobs of the workload.
        jobs: usize,
    },
    /// A job cannot be written as a script for dbbench.
    #[error("job {job:?} {problem}; {remedy}")]
    Job {
        /// Name of the job.
        job: String,
        /// What is wrong, in words.
        problem: String,
        /// How to mend it.
        remedy: String,
    },
}
