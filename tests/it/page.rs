//! The page at `/` in a real browser: its states change before one's eyes, without a script and under its own strict policy.

use crate::support::child::polite;
use crate::support::http::{ask, send};
use crate::support::process::Tool;
use crate::support::{Dir, Portcullis, Redis, eventually, free_port, secs, slow};
use serde_json::{Value, json};
use std::process::Command;

/// Chromium, driven over WebDriver.
struct Browser {
    port: u16,
    session: String,
    _driver: Tool,
    _dir: Dir,
}

impl Browser {
    fn start() -> Self {
        let (port, dir) = (free_port(), Dir::new());
        let driver = Tool::start(Command::new("chromedriver").arg(format!("--port={port}")));
        eventually("chromedriver listens", secs(30), || ask(port, "GET", "/status", "").ok().filter(|answer| answer.code == 200).map(drop));
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &profile,
        ];
        let options = json!({ "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" } });
        let body = json!({ "capabilities": { "alwaysMatch": options } }).to_string();
        let told = send(port, "POST", "/session", &body).expect("a session of chromium").json();
        let session = told["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        Self { port, session, _driver: driver, _dir: dir }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let told = send(self.port, "POST", &format!("/session/{}/{path}", self.session), &body.to_string());
        told.unwrap_or_else(|error| panic!("{path}: {error}")).json()["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// A screen as wide as a phone's; a window cannot be as narrow.
    fn narrow(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        self.command("goog/cdp/execute", &json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics }));
    }

    /// What an expression yields on the page that is shown now.
    fn see(&self, expression: &str) -> Value {
        self.command("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    #[track_caller]
    fn until_title(&self, words: &str) {
        let seen = || self.see("document.querySelector('h1')?.innerText").as_str().filter(|text| text.contains(words)).map(drop);
        eventually(&format!("the page says {words}"), secs(40), seen);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(send(self.port, "DELETE", &format!("/session/{}", self.session), ""));
    }
}

#[test]
fn states_change_before_ones_eyes() {
    if !slow("states_change_before_ones_eyes") {
        return;
    }
    let mut redis = Redis::reserve();
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let check = format!("url = \"redis://127.0.0.1:{}/0\"\ninterval = \"200ms\"\nfailure_threshold = 2", redis.port);
    let toml = format!("mode = \"api\"\nservice = \"api\"\n[checks.redis]\n{check}\n[modes.api]\ncommand = [\"{}\"]\n", child.display());
    let run = run.config(&toml).start();
    run.until_status("/livez", 200, secs(20));
    let browser = Browser::start();
    // Opened once: from here on it is the page that loads itself again.
    browser.open(&format!("http://127.0.0.1:{}/", run.port));
    browser.until_title("UNKNOWN");
    let text = browser.see("document.body.innerText");
    assert!(text.as_str().unwrap().contains("waiting for redis"), "{text}");
    redis = redis.started();
    browser.until_title("UP");
    redis.stop();
    browser.until_title("DOWN");
    let text = browser.see("document.body.innerText");
    assert!(text.as_str().unwrap().contains("redis: connection refused"), "{text}");
    redis.restart();
    browser.until_title("UP");

    browser.open(&format!("http://127.0.0.1:{}/?hold", run.port));
    let style = browser.see("getComputedStyle(document.querySelector('header')).borderBottomStyle");
    assert_eq!(style, "solid", "the policy lets the page's own style in");
    let told = browser.see("(document.querySelector('summary').click(), document.querySelector('details[open] p').innerText)");
    assert!(told.as_str().unwrap().contains(" failed, slowest "), "{told}");
    browser.narrow(390);
    let told = browser.see("document.querySelector('details[open] p').getBoundingClientRect().height <= 64");
    assert_eq!(told, true, "what a bucket says has room before the next thing on a phone, too");
    assert_eq!(browser.see("document.documentElement.scrollWidth <= innerWidth"), true, "nothing sticks out of a phone");
    assert_eq!(
        browser.see("document.querySelector('.bars svg').clientWidth > 200"),
        true,
        "the bars of the start are bars on a phone, too"
    );
    assert_eq!(browser.see("document.scripts.length"), 0);
    assert_eq!(browser.see("performance.getEntriesByType('resource').length"), 0, "nothing is loaded beside the page");
    let complaints = browser.command("se/log", &json!({ "type": "browser" }));
    assert_eq!(complaints, json!([]), "the browser has nothing to complain about");
}
