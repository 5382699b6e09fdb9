//! The kernel's memory by the number of CPUs: the sampler's maps are made for so many CPUs, those of the sockets are
//! made for this machine's and reckoned for so many; the rings that tell of mappings are one for each.

use super::{Cost, Measured, Part, memory};
use wireprof::sample::Options;
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::perf::{CHANGES_BYTES, budget};
use wireprof::sample::unwind::Cache;
use wireprof::wire::{Hop, Listens, SocketProgram};

pub const PART: Part = Part {
    name: "cpus",
    unit: "CPUs",
    sizes: &[2, 16, 64, 256],
    costs: &[
        Cost { name: "sampler", what: "sampler: the kernel's maps, MB", most: 1.0 },
        Cost { name: "rings", what: "sampler: rings that tell of mappings, MB", most: 1.0 },
        Cost { name: "sockets", what: "sockets: the kernel's maps, MB", most: 1.0 },
        Cost { name: "rate", what: "sampler: samples a second of all CPUs", most: 1.0 },
    ],
    measure,
};

fn measure(cpus: u64) -> Measured {
    let all = |(common, each): (f64, f64)| (common + each * cpus as f64) / 1e6;
    let sampler = EbpfSampler::open_for_cpus(Options::default(), Cache::default(), cpus as usize)?;
    let of_sampler = all(memory::maps()?);
    drop(sampler);
    let sockets = SocketProgram::open(vec![Hop { name: "server".into(), at: Listens::Port(6_875) }])?;
    // Those that are mapped have no descriptor any more.
    let of_sockets = all(memory::maps()?) + sockets.mapped_bytes() as f64 / 1e6;
    drop(sockets);
    Ok(vec![
        ("sampler", of_sampler),
        ("rings", (cpus * CHANGES_BYTES as u64) as f64 / 1e6),
        ("sockets", of_sockets),
        ("rate", (budget(cpus as usize, &Options::default()).frequency * cpus) as f64),
    ])
}
