//! All rigs in one program, `rigs NAME ...`, as each of them alone would be linked with the whole library once more.
//! Invariant: a rig is a file or folder here whose `main` takes what stands behind its name.

mod callers;
mod coloured;
mod constructed;
mod coverage;
mod drive;
mod faults;
mod figure;
mod following;
mod history;
mod large;
mod loaded;
mod observed;
mod pages;
mod places;
mod relabel;
mod sample;
mod samply_samples;
mod scale;
mod score;
mod sockets;
mod symbolize;
mod tables;
mod truth;

use std::process::{ExitCode, Termination};

/// Its error is reported as that of a program is.
type Rig = fn(&[String]) -> ExitCode;

macro_rules! rigs {
    ($($name:ident)*) => { &[$((stringify!($name), |arguments| $name::main(arguments).report())),*] };
}

const RIGS: &[(&str, Rig)] = rigs![
    callers coloured constructed coverage drive faults figure following large loaded observed pages places relabel
    sample samply_samples scale score sockets symbolize tables truth
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.split_first().and_then(|(name, rest)| Some((find(name)?, rest)));
    let Some((rig, rest)) = named else {
        let names: Vec<&str> = RIGS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: rigs NAME ...; names: {}", names.join(" "));
        return ExitCode::from(2);
    };
    rig(rest)
}

fn find(name: &str) -> Option<Rig> {
    RIGS.iter().find(|(known, _)| *known == name).map(|(_, rig)| *rig)
}
