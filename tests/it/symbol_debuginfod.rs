//! Debug files from a debuginfod server, which a thread of the test plays: what it has is used, what it lacks or
//! refuses costs a note at most, and nobody is asked without the variable.

use crate::skip::skip;
use object::{Object, ObjectSection, ObjectSymbol};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wireprof::cachedir::CacheDir;
use wireprof::debuginfod::Debuginfod;
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{DebugFiles, Options, Symbolizer};

const PROGRAM: &str = "
volatile long sink;
static inline __attribute__((always_inline)) void hot(long n) { for (long i = 0; i < n; i++) sink += i * n; }
static __attribute__((noinline)) void outer(long n) { hot(n); sink++; }
int main(int count, char **arguments) { outer(count); return (int)sink; }
";

/// A stripped program, its debug file's bytes, and where `outer` lies in it.
struct Built {
    folder: tempfile::TempDir,
    debug: Vec<u8>,
    build_id: String,
    at: u64,
}

impl Built {
    fn new() -> Option<Built> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("program.c"), PROGRAM).unwrap();
        let run = |tool: &str, arguments: &[&str]| {
            let done = Command::new(tool).args(arguments).current_dir(folder.path()).status();
            done.is_ok_and(|status| status.success())
        };
        let made = run("gcc", &["-O2", "-g", "-Wl,--build-id=sha1", "-o", "program", "program.c"])
            && run("objcopy", &["--only-keep-debug", "program", "program.debug"]);
        if !made {
            skip("no gcc or objcopy");
            return None;
        }
        let bytes = std::fs::read(folder.path().join("program")).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok("outer")).unwrap();
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let at = section.file_range().unwrap().0 + (symbol.address() - section.address());
        let build_id = file.build_id().unwrap().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(run("strip", &["program"]));
        let debug = std::fs::read(folder.path().join("program.debug")).unwrap();
        std::fs::remove_file(folder.path().join("program.debug")).unwrap();
        Some(Built { folder, debug, build_id, at })
    }

    /// The name at the beginning of `outer`, and what is noted.
    fn looked_up(&self, elsewhere: Option<Arc<Debuginfod>>) -> (String, Vec<String>) {
        let elsewhere = elsewhere.map(|found| found as Arc<dyn DebugFiles>);
        let options = Options { debug_roots: Vec::new(), cache: None, elsewhere, ..Options::default() };
        let mut symbolizer = Symbolizer::new(options);
        let module = Module {
            kind: ModuleKind::File,
            path: self.folder.path().join("program"),
            pid: 0,
            mapping: (0, 0),
            inode: 0,
            deleted: false,
            build_id: Some(self.build_id.clone()),
        };
        let found = symbolizer.resolve(&[module], &[Address { module: Some(ModuleId(0)), at: self.at }]);
        let frame = symbolizer.frame(*found[0].last().unwrap());
        (if frame.miss.is_some() { String::new() } else { frame.name.clone() }, symbolizer.notes())
    }
}

/// A server that answers each request with these bytes.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    paths: Arc<Mutex<Vec<String>>>,
}

fn serve(status: &'static str, body: Vec<u8>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = Server { url, asked: Arc::default(), paths: Arc::default() };
    let (asked, paths) = (server.asked.clone(), server.paths.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            asked.fetch_add(1, Ordering::SeqCst);
            paths.lock().unwrap().push(first.split(' ').nth(1).unwrap_or_default().to_string());
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that refuses the length has hung up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    server
}

fn client(urls: &str, folder: &Path, more: &[(&str, &str)]) -> Arc<Debuginfod> {
    let home = folder.display().to_string();
    let variable = |name: &str| match name {
        "DEBUGINFOD_URLS" => Some(urls.to_string()),
        "HOME" => Some(home.clone()),
        name => more.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()),
    };
    Arc::new(Debuginfod::of(&variable, Some(CacheDir::of_kind(&folder.join("kept"), "debuginfod", 1 << 30))))
}

#[test]
fn a_debug_file_is_fetched_once_kept_and_verified() {
    let Some(built) = Built::new() else { return };
    assert_eq!(built.looked_up(None).0, "", "stripped");
    let home = tempfile::tempdir().unwrap();
    let (empty, server) = (serve("404 Not Found", Vec::new()), serve("200 OK", built.debug.clone()));
    let urls = format!("{} {}", empty.url, server.url);
    for _ in 0..2 {
        assert_eq!(built.looked_up(Some(client(&urls, home.path(), &[]))), ("outer".into(), Vec::new()));
    }
    assert_eq!((empty.asked.load(Ordering::SeqCst), server.asked.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(*server.paths.lock().unwrap(), [format!("/buildid/{}/debuginfo", built.build_id)]);
    assert!(home.path().join("kept/debuginfod").join(&built.build_id).exists());

    let wrong = serve("200 OK", b"no ELF file".to_vec());
    let other = tempfile::tempdir().unwrap();
    assert_eq!(built.looked_up(Some(client(&wrong.url, other.path(), &[]))).0, "", "what it is not is not used");
}

#[test]
fn without_the_variable_no_server_is_asked_and_what_the_client_kept_is_read() {
    let Some(built) = Built::new() else { return };
    let home = tempfile::tempdir().unwrap();
    assert_eq!(built.looked_up(Some(client("", home.path(), &[]))).0, "");
    let folder: PathBuf = home.path().join("cache").join(&built.build_id);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("debuginfo"), &built.debug).unwrap();
    let server = serve("200 OK", built.debug.clone());
    let kept = home.path().join("cache").display().to_string();
    for urls in ["", &server.url] {
        let found = client(urls, home.path(), &[("DEBUGINFOD_CACHE_PATH", &kept)]);
        assert_eq!(built.looked_up(Some(found)).0, "outer");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0, "the client's file goes before");
}

#[test]
fn a_server_that_fails_is_a_note_and_is_not_asked_again() {
    let Some(built) = Built::new() else { return };
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://user:secret@{}", listener.local_addr().unwrap())
    };
    let broken = serve("500 Internal Server Error", Vec::new());
    let large = serve("200 OK", vec![0; 5000]);
    for (url, said) in [(&gone, "refused"), (&broken.url, "it answers 500"), (&large.url, "larger than 4000 bytes")] {
        let home = tempfile::tempdir().unwrap();
        let found = client(url, home.path(), &[("DEBUGINFOD_MAXSIZE", "4000")]);
        let (name, notes) = built.looked_up(Some(found.clone()));
        assert_eq!(name, "");
        let note = notes.iter().find(|note| note.starts_with("debuginfod ")).unwrap();
        assert!(note.contains(said) && !note.contains("secret"), "{note}");
        assert!(found.find(&built.build_id).is_none() && found.notes().len() == 1);
    }
    assert_eq!(broken.asked.load(Ordering::SeqCst), 1);
    // A server that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let found = client(&url, home.path(), &[("DEBUGINFOD_TIMEOUT", "1")]);
    let (name, notes) = built.looked_up(Some(found));
    assert!(name.is_empty() && notes.iter().any(|note| note.contains("timed out")), "{notes:?}");
}
