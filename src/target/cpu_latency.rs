//! Keeping idle CPUs awake. The deeper a CPU sleeps the longer a thread that is woken on it waits, and an idle
//! machine sleeps deepest: at few clients that wait, which is the machine's, can be most of the latency. A process
//! that holds `/dev/cpu_dma_latency` open with 0 written to it asks that no CPU take any time to wake (kernel
//! documentation, power/pm_qos_interface.rst). Invariant: the request ends when the file is closed, so with the
//! process at the latest, however it ends.

use super::Forbidden;
use std::fs::{File, OpenOptions};
use std::io::Write;

const FILE: &str = "/dev/cpu_dma_latency";

/// Idle CPUs poll instead of sleeping, until this is dropped.
#[derive(Debug)]
pub struct CpuLatencyLock {
    _request: File,
}

impl CpuLatencyLock {
    /// Asks the kernel to keep idle CPUs awake.
    ///
    /// # Errors
    /// A host without the file (a container, a kernel without CPU idle states), or no right to write it.
    pub fn acquire() -> Result<CpuLatencyLock, Forbidden> {
        let mut file = open()?;
        // Binary: microseconds as the machine's i32.
        file.write_all(&0i32.to_ne_bytes()).map_err(forbidden)?;
        Ok(CpuLatencyLock { _request: file })
    }

    /// Whether it could be, without doing it: an open file asks for nothing until something is written to it.
    ///
    /// # Errors
    /// As those of [`CpuLatencyLock::acquire`].
    pub fn permitted() -> Result<(), Forbidden> {
        open().map(drop)
    }
}

fn open() -> Result<File, Forbidden> {
    OpenOptions::new().write(true).open(FILE).map_err(forbidden)
}

fn forbidden(error: std::io::Error) -> Forbidden {
    Forbidden {
        what: "keeping idle CPUs awake".into(),
        cause: format!("{FILE}: {error}"),
        remedy: "run wireprof as root on the host itself, or leave out --awake".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// The limit that is in force on this host, microseconds.
    fn in_force() -> i32 {
        let mut bytes = [0; 4];
        File::open(FILE).unwrap().read_exact(&mut bytes).unwrap();
        i32::from_ne_bytes(bytes)
    }

    #[test]
    fn the_limit_is_0_while_it_is_kept_and_then_what_it_was() {
        if let Err(why) = CpuLatencyLock::permitted() {
            println!("skipped: {why}");
            return;
        }
        let before = in_force();
        if before == 0 {
            println!("skipped: somebody else keeps the CPUs of this host awake");
            return;
        }
        let kept = CpuLatencyLock::acquire().unwrap();
        assert_eq!(in_force(), 0);
        drop(kept);
        assert_eq!(in_force(), before);
    }
}
