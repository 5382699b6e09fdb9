//! The unwinder's tables by the number of files that the target has mapped: copies of a library of 2,000 functions,
//! which have no build-id and so are read one by one.

use super::{Cost, Measured, Part, memory};
use anyhow::{Context, Result, ensure};
use std::ffi::CString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::unwind::Cache;
use wireprof::sample::{Options, Sampled, Sampler};

pub const PART: Part = Part {
    name: "modules",
    unit: "libraries",
    sizes: &[4, 40, 400],
    costs: &[
        Cost { name: "prepare", what: "tables: reading all files, s", most: 1.0 },
        Cost { name: "memory", what: "tables: this process's peak memory, MB", most: 1.0 },
        Cost { name: "kernel-memory", what: "tables: the kernel's maps, MB", most: 1.0 },
        Cost { name: "late", what: "tables: libraries opened while sampled that found no room", most: 0.0 },
    ],
    measure,
};

/// The first argument of the target.
pub const PROGRAM: &str = "opens-libraries";
const FUNCTIONS: usize = 2_000;

/// The target: opens the first half of the files, says so, and the others one by one when it is told; computes.
pub fn program(files: &[&str]) -> Result<()> {
    let open = |file: &&str| -> Result<()> {
        let path = CString::new(*file)?;
        // SAFETY: the path ends with a zero; the libraries have no constructors.
        ensure!(!unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }.is_null(), "{file} cannot be opened");
        Ok(())
    };
    let (first, later) = files.split_at(files.len() / 2);
    first.iter().try_for_each(open)?;
    println!("ready");
    std::thread::spawn(|| {
        loop {
            std::hint::black_box(0);
        }
    });
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    for file in later {
        open(file)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    std::process::exit(0)
}

fn measure(libraries: u64) -> Measured {
    let directory = tempfile::tempdir()?;
    let files = make(directory.path(), libraries as usize)?;
    let mut target = Command::new(std::env::current_exe()?);
    let mut target =
        target.args(["scale", PROGRAM]).args(&files).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let result = attach(&mut target);
    drop(target.stdin.take());
    target.wait()?;
    result
}

fn attach(target: &mut std::process::Child) -> Measured {
    use std::io::{Read, Write};
    let mut ready = [0; 6];
    let mut said = target.stdout.take().context("its output")?;
    said.read_exact(&mut ready)?;
    let mut sampler = EbpfSampler::open(Options::default(), Cache::default())?;
    let began = Instant::now();
    sampler.prepare(&[Sampled::alone(target.id())], &|_| {})?;
    let prepare = began.elapsed();
    let recording = sampler.start(&[Sampled::alone(target.id())])?;
    target.stdin.as_mut().context("its input")?.write_all(b"\n")?;
    said.read_exact(&mut ready)?;
    std::thread::sleep(Duration::from_millis(300));
    let (common, each) = memory::maps()?;
    let (_, report) = recording.stop()?;
    let late = report.fallbacks.iter().filter(|note| note.contains("no room")).count();
    report.fallbacks.iter().for_each(|note| eprintln!("note: {note}"));
    Ok(vec![
        ("prepare", prepare.as_secs_f64()),
        ("memory", memory::status("VmHWM")? / 1e6),
        ("kernel-memory", (common + each * memory::possible_cpus()? as f64) / 1e6),
        ("late", late as f64),
    ])
}

/// So many copies of one library.
fn make(directory: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let (source, first) = (directory.join("library.s"), directory.join("library-0.so"));
    let mut text = String::from(".text\n");
    for number in 0..FUNCTIONS {
        let size = 16 * (number % 97 + 1);
        write!(
            text,
            "f{number}: .cfi_startproc\npushq %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp,-16\nsubq ${size},%rsp\n\
             .cfi_def_cfa_offset {}\n.skip 40,0x90\naddq ${size},%rsp\n.cfi_def_cfa_offset 16\npopq %rbp\n\
             .cfi_def_cfa_offset 8\nret\n.cfi_endproc\n",
            size + 16
        )?;
    }
    text.push_str(".section .note.GNU-stack\n");
    std::fs::write(&source, text)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-nostdlib", "-Wl,--build-id=none", "-o"]).arg(&first).arg(&source);
    ensure!(gcc.status().context("gcc")?.success(), "gcc cannot make the library");
    let copy = |number: usize| -> Result<PathBuf> {
        let path = directory.join(format!("library-{number}.so"));
        if number > 0 {
            std::fs::copy(&first, &path)?;
        }
        Ok(path)
    };
    (0..count).map(copy).collect()
}
