//! `wireprof-testbed`: parses its arguments and runs the testbed. Exit codes: 0 ended on request, 1 failed, 2 usage,
//! 3 the environment does not permit it (no PostgreSQL).

use clap::{CommandFactory, Parser};
use std::process::ExitCode;
use wireprof_testbed::plant::Plant;
use wireprof_testbed::{NoPostgres, Options, find_binaries};

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(message) = options.check() {
        Options::command().error(clap::error::ErrorKind::ValueValidation, message).exit();
    }
    let done = match &options {
        Options { check_plant: Some(plant), .. } => return check_plant(plant),
        Options { find_postgres: true, postgres_bin, .. } => {
            find_binaries(postgres_bin.as_deref()).map(|directory| println!("{}", directory.display()))
        }
        options => wireprof_testbed::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wireprof-testbed: {error:#}");
            ExitCode::from(if error.is::<NoPostgres>() { 3 } else { 1 })
        }
    }
}

fn check_plant(plant: &str) -> ExitCode {
    match plant.parse::<Plant>() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
