//! `wireprof`: the library does the work, `cli` reads the arguments.

fn main() -> std::process::ExitCode {
    wireprof::cli::run(std::env::args_os())
}
