//! Keeping idle CPUs awake. The deeper a CPU sleeps the longer a thread that is woken on it waits, and an idle machine sleeps deepest:
//! at few clients that wait, which is the machine's, can be most of the latency. A process that holds `/dev/cpu_dma_latency` open
//! with 0 written to it asks that no CPU take any time to wake (kernel documentation, power/pm_qos_interface.rst). Invariant: the
//! request ends when the file is closed, so with the process at the latest, however it ends.

use super::Forbidden;
use std::fs::{File, OpenOptions};
use std::io::Write;

const FILE: &str = "/dev/cpu_dma_latency";

/// Idle CPUs poll instead of sleeping, until this is dropped.
#[derive(Debug)]
pub struct Awake(#[allow(dead_code)] File);

impl Awake {
    /// # Errors
    /// A host without the file (a container, a kernel without CPU idle states), or no right to write it.
    pub fn keep() -> Result<Awake, Forbidden> {
        // Binary: microseconds as the machine's i32.
        let written = || {
            let mut file = OpenOptions::new().write(true).open(FILE)?;
            file.write_all(&0i32.to_ne_bytes())?;
            Ok(file)
        };
        written().map(Awake).map_err(|error: std::io::Error| Forbidden {
            what: "keeping idle CPUs awake".into(),
            cause: format!("{FILE}: {error}"),
            remedy: "run wireprof as root on the host itself, or leave out --awake".into(),
        })
    }
}
