//! `wireprof-testbed`: parses its arguments and runs the library's testbed. Exit codes: 0 ended on request, 1 failed,
//! 2 usage, 3 the environment does not permit it (no PostgreSQL).

use clap::{CommandFactory, Parser};
use wireprof::testbed::{self, NoPostgres, Options};

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    if let Err(message) = options.check() {
        Options::command().error(clap::error::ErrorKind::ValueValidation, message).exit();
    }
    match testbed::run(&options) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wireprof-testbed: {error:#}");
            std::process::ExitCode::from(if error.is::<NoPostgres>() { 3 } else { 1 })
        }
    }
}
