//! A browser under test, by the WebDriver protocol (W3C recommendation "WebDriver", chapter 6) over HTTP. Invariant: it
//! asks for nothing but the page that it is given, and ends with the value that stands for it.

use crate::skip::skip;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Chromium by its driver, at one page.
pub struct Browser {
    driver: Child,
    runtime: Runtime,
    client: reqwest::Client,
    /// Address of the session.
    session: String,
    _profile: tempfile::TempDir,
}

/// What keeps Chromium from asking others for anything, and lets it run as root and without a display.
const OPTIONS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

impl Browser {
    /// A new browser; `None`, with the reason, where there is none.
    pub fn start() -> Option<Browser> {
        let there =
            |name: &str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        if !there("chromedriver") || !there("chromium") {
            skip("Chromium and its driver are not installed: `scripts/install chromium`");
            return None;
        }
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Of a test that is killed nothing stays, Chromium neither.
        wireprof::child::die_with_parent(&mut command, libc::SIGTERM);
        let mut driver = command.spawn().unwrap();
        let port = port(&mut driver);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = wireprof::http::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Browser { driver, runtime, client, session, _profile: profile };
        let mut options = OPTIONS.map(String::from).to_vec();
        options.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": options},
            "goog:loggingPrefs": {"browser": "ALL"}});
        let made = browser.ask("", Some(json!({"capabilities": {"alwaysMatch": wanted}})));
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// What a command answers; a body makes it a POST.
    fn ask(&self, command: &str, body: Option<Value>) -> Value {
        let address = format!("{}{command}", self.session);
        let request = match &body {
            Some(body) => self.client.post(&address).body(body.to_string()),
            None => self.client.get(&address),
        };
        let text = self.runtime.block_on(async { request.send().await.unwrap().text().await.unwrap() });
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"]["error"].is_null(), "{command} {body:?}: {}", answer["value"]);
        answer["value"].clone()
    }

    /// Opens a file in a window of this width and height.
    pub fn open(&self, page: &Path, width: u32, height: u32) {
        self.go(&format!("file://{}", page.display()), width, height);
    }

    /// Opens an address of this machine in such a window.
    pub fn go(&self, address: &str, width: u32, height: u32) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": screen});
        self.ask("/goog/cdp/execute", Some(command));
        self.ask("/url", Some(json!({"url": address})));
        // Where the machine is busy the driver may answer before the page has made itself.
        let there = "return document.readyState === 'complete' ? decodeURI(location.href) : ''";
        let until = Instant::now() + Duration::from_secs(30);
        while self.run(there) != address {
            assert!(Instant::now() < until, "{address} is not loaded");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the page takes its screen for: `screen` or `print`, dark or light.
    pub fn media(&self, media: &str, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"media": media, "features": features}});
        self.ask("/goog/cdp/execute", Some(command));
    }

    /// Presses a key where the focus is; `\u{e004}` is Tab.
    pub fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.ask("/actions", Some(keyboard));
    }

    /// What a script's `return` answers.
    pub fn run(&self, script: &str) -> Value {
        self.ask("/execute/sync", Some(json!({"script": script, "args": []})))
    }

    fn find(&self, css: &str) -> String {
        let found = self.ask("/element", Some(json!({"using": "css selector", "value": css})));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_string()
    }

    /// Clicks as a person does: what is hidden or covered cannot be.
    pub fn click(&self, css: &str) {
        // The driver scrolls to it only if none of it is in view; what is fixed may lie over that part.
        self.run(&format!("document.querySelector({css:?}).scrollIntoView({{block: 'nearest'}})"));
        self.ask(&format!("/element/{}/click", self.find(css)), Some(json!({})));
    }

    /// Types into a field; `\u{e007}` is Enter.
    pub fn type_into(&self, css: &str, text: &str) {
        self.ask(&format!("/element/{}/value", self.find(css)), Some(json!({"text": text})));
    }

    /// What the console has said since this was asked last.
    pub fn console(&self) -> Vec<String> {
        let said = self.ask("/se/log", Some(json!({"type": "browser"})));
        said.as_array().unwrap().iter().map(|line| line["message"].to_string()).collect()
    }

    /// What is seen, as a PNG.
    pub fn picture(&self) -> Vec<u8> {
        let text = self.ask("/screenshot", None);
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
    }
}

/// The port that the driver chose, as it says.
fn port(driver: &mut Child) -> u16 {
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.into_iter().find_map(|line| {
        let after = line.split("successfully on port ").nth(1)?;
        after.trim_end_matches('.').parse().ok()
    });
    said.expect("the driver says its port")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium too; a driver that is gone already has.
        let _ = self.runtime.block_on(async { self.client.delete(&self.session).send().await });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
