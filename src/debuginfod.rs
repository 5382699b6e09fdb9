//! Debug files from debuginfod servers, by build-id (elfutils: debuginfod(8), debuginfod_find_debuginfo(3)). Invariant:
//! without `DEBUGINFOD_URLS` no server is asked; a server that fails costs a note, and is not asked again.

use crate::cachedir::CacheDir;
use crate::connection::shown_url;
use crate::http;
use crate::runtime;
use crate::symbol::DebugFiles;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where debug files are asked for, within which bounds.
#[derive(Debug)]
pub struct Debuginfod {
    /// Servers, in the order in which they are asked.
    pub urls: Vec<String>,
    /// The folder in which debuginfod's own client keeps what it fetched; it is read, and nothing is written there.
    pub client_cache: Option<PathBuf>,
    /// Where what is fetched is kept; `None`: only as long as it is used.
    pub kept: Option<CacheDir>,
    /// Longest time without an answer, or without further bytes.
    pub patience: Duration,
    /// Longest time for one file.
    pub longest: Duration,
    /// Largest file in bytes.
    pub largest: u64,
    failed: Mutex<Vec<(String, String)>>,
}

/// Why a server gave no file.
enum Refusal {
    /// It has none.
    Absent,
    /// It cannot be asked again.
    Failed(String),
}

impl Debuginfod {
    /// As the environment says it: `DEBUGINFOD_URLS` (separated by blanks), `DEBUGINFOD_CACHE_PATH`,
    /// `DEBUGINFOD_TIMEOUT` and `DEBUGINFOD_MAXTIME` (s), `DEBUGINFOD_MAXSIZE` (bytes).
    pub fn of_environment() -> Debuginfod {
        Self::of(&|name| std::env::var(name).ok(), CacheDir::of_user("debuginfod"))
    }

    /// As these variables say it.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>, kept: Option<CacheDir>) -> Debuginfod {
        let number = |name: &str| variable(name)?.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let urls = variable("DEBUGINFOD_URLS").unwrap_or_default();
        Debuginfod {
            urls: urls.split_whitespace().filter(|url| url.starts_with("http")).map(String::from).collect(),
            client_cache: folder("DEBUGINFOD_CACHE_PATH").or_else(|| Some(home?.join("debuginfod_client"))),
            kept,
            patience: Duration::from_secs(number("DEBUGINFOD_TIMEOUT").unwrap_or(15)),
            longest: Duration::from_secs(number("DEBUGINFOD_MAXTIME").unwrap_or(120)),
            largest: number("DEBUGINFOD_MAXSIZE").unwrap_or(1 << 30),
            failed: Mutex::new(Vec::new()),
        }
    }

    fn fetch(&self, url: &str, build_id: &str) -> Result<File, Refusal> {
        // A thread of its own: the caller may be one of a runtime's, which must not wait.
        let panicked = |_| Err(Refusal::Failed("the client panicked".into()));
        std::thread::scope(|scope| {
            let work = || -> Result<File, Refusal> {
                let runtime = runtime::on_this_thread();
                let runtime = runtime.map_err(|cause| Refusal::Failed(format!("{cause:#}")))?;
                runtime.block_on(async {
                    let answer = tokio::time::timeout(self.longest, self.download(url, build_id)).await;
                    let seconds = self.longest.as_secs();
                    answer.unwrap_or_else(|_| Err(Refusal::Failed(format!("no whole file within {seconds} s"))))
                })
            };
            let thread = std::thread::Builder::new().spawn_scoped(scope, work);
            thread.map_err(|cause| Refusal::Failed(cause.to_string()))?.join().unwrap_or_else(panicked)
        })
    }

    async fn download(&self, url: &str, build_id: &str) -> Result<File, Refusal> {
        let failed = |error: reqwest::Error| Refusal::Failed(chain(&error.without_url()));
        let client = http::builder().connect_timeout(self.patience).read_timeout(self.patience);
        let client = client.build().map_err(failed)?;
        let file = format!("{}/buildid/{build_id}/debuginfo", url.trim_end_matches('/'));
        let mut answer = client.get(file).send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(Refusal::Absent),
            status => return Err(Refusal::Failed(format!("it answers {status}"))),
        }
        let too_large =
            || Refusal::Failed(format!("the file is larger than {} bytes (DEBUGINFOD_MAXSIZE)", self.largest));
        let length = answer.content_length().unwrap_or(0);
        if length > self.largest {
            return Err(too_large());
        }
        let disk = |cause: std::io::Error| Refusal::Failed(format!("cannot keep the file: {cause}"));
        let begun = self.kept.as_ref().and_then(|kept| Some((kept, kept.begin(length).ok()?)));
        let mut nameless = if begun.is_none() { Some(tempfile::tempfile().map_err(disk)?) } else { None };
        let (kept, mut named) = begun.unzip();
        let mut taken = 0;
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            taken += part.len() as u64;
            if taken > self.largest {
                return Err(too_large());
            }
            match (&mut named, &mut nameless) {
                (Some(file), _) => file.write_all(&part).map_err(disk)?,
                (None, Some(file)) => file.write_all(&part).map_err(disk)?,
                (None, None) => {}
            }
        }
        match (kept, named, nameless) {
            (Some(kept), Some(file), _) => kept.finish(file, build_id).map_err(disk),
            (_, _, Some(mut file)) => file.rewind().map(|()| file).map_err(disk),
            _ => Err(Refusal::Absent),
        }
    }
}

/// What an error says, down to its cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = cause.to_string();
        source = cause.source();
    }
    said
}

impl DebugFiles for Debuginfod {
    fn find(&self, build_id: &str) -> Option<File> {
        let by_client = self.client_cache.as_ref().map(|folder| folder.join(build_id).join("debuginfo"));
        // An empty file is the client's note that there is none.
        let full = |file: &File| file.metadata().is_ok_and(|facts| facts.len() > 0);
        if let Some(file) = by_client.and_then(|path| File::open(path).ok()).filter(full) {
            return Some(file);
        }
        if self.urls.is_empty() {
            return None;
        }
        if let Some(file) = self.kept.as_ref().and_then(|kept| kept.open(build_id)).filter(full) {
            return Some(file);
        }
        for url in &self.urls {
            if self.failed.lock().iter().any(|(failed, _)| failed == url) {
                continue;
            }
            let begun = Instant::now();
            match self.fetch(url, build_id) {
                Ok(file) => return Some(file),
                Err(Refusal::Absent) => {}
                Err(Refusal::Failed(why)) => {
                    let why = format!("{why}, after {:.1} s", begun.elapsed().as_secs_f64());
                    self.failed.lock().push((url.clone(), why));
                }
            }
        }
        None
    }

    fn notes(&self) -> Vec<String> {
        let failed = self.failed.lock();
        let note = |(url, why): &(String, String)| {
            format!(
                "debuginfod {}: {why}; functions of stripped files stay without names where it alone has them (unset \
                 DEBUGINFOD_URLS to leave it unasked)",
                shown_url(url)
            )
        };
        failed.iter().map(note).collect()
    }
}
