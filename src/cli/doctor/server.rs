//! What one server permits: its process, its binary, its connections, its metrics and statements.

use super::{Doctor, HostCheck, connects, split_remedy};
use crate::elf::{Image, root_of};
use crate::load::Address;
use crate::metrics::{HttpScraper, MetricsDelta, Scraper};
use crate::preset::Preset;
use crate::sample::ebpf::{EbpfSampler, NoTasks, types_of_tasks};
use crate::sample::unwind::Cache;
use crate::sample::{Options, perf, permitted};
use crate::statements::HIDDEN_REMEDY;
use crate::sweep::{listens, needs_administrator, open_reader, statements_address};
use crate::symbol::symbols_remedy;
use crate::target::{comm, identify, setcap_command, start_ticks};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SCRAPE_LIMIT: Duration = Duration::from_secs(5);

pub async fn checks(asked: &Doctor, preset: &Preset, address: Option<&Address>) -> Vec<HostCheck> {
    let mut checks = Vec::new();
    let (process, pid) = process(asked, preset, address);
    checks.push(process);
    if let Some(pid) = pid {
        checks.extend(binary(pid));
        checks.push(sampling(pid));
        checks.push(tasks(pid));
    }
    if let Some(address) = address {
        let connection = connection("connection", address);
        let connected = connection.verdict == super::HostStatus::Good;
        checks.push(connection);
        checks.extend(administrator(asked, preset));
        checks.extend(metrics(asked, preset, address).await);
        if connected || asked.statements_url.is_some() {
            checks.extend(statements(asked, preset, address).await);
        }
    }
    checks
}

fn process(asked: &Doctor, preset: &Preset, address: Option<&Address>) -> (HostCheck, Option<u32>) {
    const WHAT: &str = "process";
    let (place, found) = match (asked.pid, address.map(listens)) {
        (Some(pid), _) if start_ticks(pid).is_none() => {
            return (
                HostCheck::refused(WHAT, format!("there is no process {pid}"), "give the server's process id"),
                None,
            );
        }
        (Some(pid), _) => ("as given".to_string(), Ok(pid)),
        (None, Some(Some((place, found)))) => (place, found),
        (None, _) => {
            let remedy =
                "run wireprof on the server's host, or give --pid; without, load and metrics only are measured";
            return (HostCheck::limited(WHAT, "the URL names another host", remedy), None);
        }
    };
    let pid = match found {
        Ok(pid) => pid,
        Err(why) => return (HostCheck::forbidden(WHAT, &why), None),
    };
    let name = comm(pid, pid).unwrap_or_default();
    let found = format!("{pid} ({name}), {place}");
    let names = &preset.process.names;
    if names.is_empty() || names.contains(&name) {
        return (HostCheck::good(WHAT, found), Some(pid));
    }
    let expected = format!("preset {} expects {}; is this its port?", preset.name, names.join(" or "));
    (HostCheck::limited(WHAT, found, expected), Some(pid))
}

/// The installed debug file of this build-id, in the process's root or ours.
fn debug_file(pid: u32, build_id: &str) -> Option<PathBuf> {
    let (first, rest) = build_id.split_at_checked(2)?;
    let file = format!("usr/lib/debug/.build-id/{first}/{rest}.debug");
    [root_of(pid), PathBuf::from("/")].into_iter().map(|root| root.join(&file)).find(|path| path.is_file())
}

fn binary(pid: u32) -> Vec<HostCheck> {
    let identity = identify(pid);
    let Some(executable) = identity.executable else {
        let found = format!("/proc/{pid}/exe cannot be read by this user");
        let remedy = format!("run as root or as the server's user, or `{}`", setcap_command());
        return vec![HostCheck::limited("binary", found, remedy)];
    };
    let apart = identity.build_id.as_deref().and_then(|id| debug_file(pid, id));
    let build = identity.build_id.map_or("without a build-id".into(), |id| format!("build-id {id}"));
    let mut checks = vec![match identity.deleted {
        true => HostCheck::limited(
            "binary",
            format!("{executable}, {build}; the file was replaced since the process started"),
            "restart the server, unless it is the old binary that you mean to measure",
        ),
        false => HostCheck::good("binary", format!("{executable}, {build}")),
    }];
    let image = Image::open_path(Path::new(&format!("/proc/{pid}/exe"))).ok();
    let remedy = || symbols_remedy(&root_of(pid), Path::new(&executable));
    let has = |name: &str| image.as_ref().is_some_and(|image| image.section(name).is_some());
    checks.push(match (has(".symtab"), has(".debug_line")) {
        (_, false) if apart.is_some() => {
            let file = apart.unwrap_or_default();
            HostCheck::good("symbols", format!("in the debug file {}", file.display()))
        }
        (true, true) => HostCheck::good("symbols", "symbol table and line tables, so inlined functions are named"),
        (true, false) => {
            HostCheck::limited("symbols", "a symbol table, no line tables: inlined functions stay unnamed", remedy())
        }
        (false, true) => HostCheck::good("symbols", "line tables"),
        (false, false) => HostCheck::limited("symbols", "none in the binary but those it exports", remedy()),
    });
    checks.push(match has(".eh_frame") || has(".debug_frame") {
        true => HostCheck::good(
            "frame tables",
            ".eh_frame or .debug_frame: stacks are followed without frame \
            pointers",
        ),
        false => HostCheck::limited(
            "frame tables",
            "neither .eh_frame nor .debug_frame",
            "build with unwind tables (-fasynchronous-unwind-tables; Rust: -C force-unwind-tables=yes), or with frame \
                pointers",
        ),
    });
    checks
}

fn sampling(pid: u32) -> HostCheck {
    if EbpfSampler::open(Options::default(), Cache::default()).is_ok() {
        return HostCheck::good("sampling it", "stacks followed in the kernel, with its threads and children");
    }
    match permitted(&Options::default(), pid).and_then(|options| perf::open(&options, &[pid])) {
        Ok(opened) if opened.fallbacks.is_empty() => HostCheck::good("sampling it", opened.event),
        Ok(opened) => HostCheck::good("sampling it", format!("{}; {}", opened.event, opened.fallbacks.join("; "))),
        Err(why) => HostCheck::forbidden("sampling it", &why),
    }
}

/// Whether its async tasks can be followed, by the symbols of its program.
fn tasks(pid: u32) -> HostCheck {
    const WHAT: &str = "its async tasks";
    match types_of_tasks(pid) {
        Ok(types) => HostCheck::good(WHAT, format!("tokio's, of {types} types by its symbols: they can be followed")),
        Err(why @ NoTasks::NoSymbols) => {
            HostCheck::good(WHAT, format!("none that are known: {why}; its threads count"))
        }
        Err(why) => {
            let remedy = match why {
                NoTasks::Stripped => {
                    "keep its symbol table (`strip --strip-debug`; Rust: strip = \"debuginfo\" at most)".into()
                }
                _ => format!("run as root, or `{}`", setcap_command()),
            };
            HostCheck::limited(WHAT, format!("{why}; if it has tasks of tokio, only its threads are followed"), remedy)
        }
    }
}

fn connection(what: &'static str, address: &Address) -> HostCheck {
    match connects(address) {
        Ok(()) => match address.warning() {
            None => HostCheck::good(what, address.shown()),
            Some(why) => {
                HostCheck::limited(what, format!("{}; {why}", address.shown()), "chmod 600 the file, or remove it")
            }
        },
        Err(error) => {
            let (cause, remedy) = split_remedy(&error.to_string());
            HostCheck::refused(what, cause, remedy)
        }
    }
}

/// The connection that set-up needs; without set-up a sweep does without it.
fn administrator(asked: &Doctor, preset: &Preset) -> Option<HostCheck> {
    const WHAT: &str = "administrator's connection";
    if preset.setup.is_empty() {
        return None;
    }
    let Some(url) = asked.internal_url.clone().or(preset.connect.internal.clone()) else {
        let (why, remedy) = ("no address", "give --internal-url, or --no-setup, which leaves the server as it is");
        return needs_administrator(&preset.setup, false).then(|| HostCheck::refused(WHAT, why, remedy));
    };
    Some(match Address::parse(&url) {
        Ok(address) => {
            let check = connection(WHAT, &address);
            let remedy = format!("{}, or --no-setup, which leaves the server as it is", check.remedy);
            if check.remedy.is_empty() { check } else { HostCheck { remedy, ..check } }
        }
        Err(error) => HostCheck::refused(WHAT, error.to_string(), "correct --internal-url"),
    })
}

async fn metrics(asked: &Doctor, preset: &Preset, address: &Address) -> Vec<HostCheck> {
    const WHAT: &str = "metrics";
    let Some(url) = asked.metrics_url.clone().or(preset.connect.metrics.clone()) else {
        return vec![HostCheck::limited(
            WHAT,
            "no address",
            "give --metrics-url, if the server has Prometheus metrics",
        )];
    };
    let scraped = match HttpScraper::new(&url, SCRAPE_LIMIT, address.encryption.roots.as_ref()) {
        Ok(scraper) => scraper.scrape().await.map(|scrape| (scrape, scraper.source())),
        Err(error) => Err(error),
    };
    let (scrape, source) = match scraped {
        Ok(scraped) => scraped,
        // One that was not asked for is only missed.
        Err(error) => {
            let (cause, remedy) = split_remedy(&error.to_string());
            let remedy =
                format!("give the right address with --metrics-url, or --no-metrics, which does without ({remedy})");
            return vec![match asked.metrics_url.is_some() {
                true => HostCheck::refused(WHAT, cause, remedy),
                false => HostCheck::limited(WHAT, cause, remedy),
            }];
        }
    };
    let (milliseconds, kilobytes) = (scrape.span.nanos() as f64 / 1e6, scrape.text.len() as f64 / 1e3);
    let mut checks = vec![HostCheck::good(WHAT, format!("{source}: {kilobytes:.0} kB in {milliseconds:.0} ms"))];
    let absent: Vec<String> =
        preset.absent(&MetricsDelta::between(&scrape, &scrape)).iter().map(ToString::to_string).collect();
    let wanted = preset.wanted().len();
    if wanted > 0 {
        checks.push(match absent.len() {
            0 => HostCheck::good("metrics of the preset", format!("all {wanted} are there")),
            n => HostCheck::limited(
                "metrics of the preset",
                format!("{n} of {wanted} are absent: {}", absent.join(", ")),
                "what needs them reads \"not measured\"; some appear with the first query only, others have another \
                    name in \
                 this revision",
            ),
        });
    }
    checks
}

async fn statements(asked: &Doctor, preset: &Preset, address: &Address) -> Option<HostCheck> {
    const WHAT: &str = "statement statistics";
    let open = async {
        let Some(address) = statements_address(preset, asked.statements_url.as_deref(), address)? else {
            return Ok(None);
        };
        connects(&address)?;
        let reader = open_reader(preset, &address).await?;
        let user = address.config().get_user().unwrap_or("ROLE").to_string();
        anyhow::Ok(Some((reader.snapshot().await?, user)))
    };
    match open.await {
        Ok(None) => None,
        Ok(Some((snapshot, user))) => Some(match snapshot.hidden() {
            0 => HostCheck::good(WHAT, snapshot.source),
            hidden => HostCheck::limited(
                WHAT,
                format!("{}; {hidden} statements of other roles are hidden from {user}, and left out", snapshot.source),
                format!("as a superuser run: {HIDDEN_REMEDY} {user}"),
            ),
        }),
        Err(error) => {
            let (cause, remedy) = split_remedy(&format!("{error:#}"));
            Some(HostCheck::limited(WHAT, cause, remedy))
        }
    }
}
