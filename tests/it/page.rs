//! The page at `/` in a real browser: its state is updated without a script and under its own strict policy.

use crate::support::child::polite;
use crate::support::http::{ask, send};
use crate::support::process::Tool;
use crate::support::{Dir, Portcullis, Redis, Running, eventually, free_port, secs, slow};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
        let reported = send(port, "POST", "/session", &body).expect("a session of chromium").json();
        let session = reported["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{reported}")).to_owned();
        Self { port, session, _driver: driver, _dir: dir }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let reported = send(self.port, "POST", &format!("/session/{}/{path}", self.session), &body.to_string());
        reported.unwrap_or_else(|error| panic!("{path}: {error}")).json()["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// A screen as wide as a phone's; a window cannot be as narrow.
    fn narrow(&self, width: u32) {
        self.screen(width, 844, true);
    }

    fn screen(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// `light` or `dark`, as the person's system asks for it.
    fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Puts the whole page, as it is shown now, below `target`, so that people can look at it.
    fn picture(&self, name: &str) {
        let reported = self.devtools("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
        let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(File::create(&path).unwrap()).spawn().unwrap();
        decode.stdin.take().unwrap().write_all(reported["data"].as_str().unwrap().as_bytes()).unwrap();
        assert!(decode.wait().unwrap().success() && std::fs::metadata(&path).unwrap().len() > 5000, "{}", path.display());
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
    browser.until_title("STARTING");
    let text = browser.see("document.body.innerText");
    assert!(text.as_str().unwrap().contains("waiting for redis"), "{text}");
    redis = redis.started();
    browser.until_title("\u{25cf} SERVING");
    redis.stop();
    browser.until_title("SERVING, degraded: redis");
    let text = browser.see("document.body.innerText");
    assert!(text.as_str().unwrap().contains("redis: connection refused"), "{text}");
    redis.restart();
    browser.until_title("\u{25cf} SERVING");

    browser.open(&format!("http://127.0.0.1:{}/?hold", run.port));
    let style = browser.see("getComputedStyle(document.querySelector('header')).borderBottomStyle");
    assert_eq!(style, "solid", "the policy lets the page's own style in");
    let reported = browser.see("([...document.querySelectorAll('summary')].find(s => s.checkVisibility()).click(), document.querySelector('details[open] p').innerText)");
    assert!(reported.as_str().unwrap().contains(" failed, slowest "), "{reported}");
    browser.narrow(390);
    let reported = browser.see("document.querySelector('details[open] p').getBoundingClientRect().height <= 64");
    assert_eq!(reported, true, "what a bucket says has room before the next thing on a phone, too");
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

/// The least contrast of a text with what is behind it, as WCAG 2 counts it, with the text.
const CONTRAST: &str = r"(() => {
  const rgb = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => { for (; element; element = element.parentElement) {
    const colour = rgb(getComputedStyle(element).backgroundColor); if (colour[3] !== 0) return colour; } return [255, 255, 255]; };
  const texts = [...document.querySelectorAll('body *')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && element.checkVisibility());
  const judged = texts.map(element => { const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.innerText]; });
  return judged.sort((a, b) => a[0] - b[0])[0]; })()";

/// Whether anything of the page is dark by its background.
const DARK: &str = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).every(part => part < 64)";

/// Looks at one state on a desk and on a phone, by day and by night, and leaves the pictures.
fn look(browser: &Browser, run: &Running, state: &str) {
    for (screen, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, screen == "phone");
            browser.prefers(scheme);
            browser.open(&format!("http://127.0.0.1:{}/?hold", run.port));
            let what = format!("{state}-{screen}-{scheme}");
            browser.picture(&what);
            assert_eq!(browser.see("innerWidth"), width, "{what}: the page is as wide as its screen");
            assert_eq!(browser.see("document.documentElement.scrollWidth <= innerWidth"), true, "{what}: nothing sticks out");
            assert_eq!(browser.see(DARK), scheme == "dark", "{what}: the page is as dark as it is asked to be");
            let least = browser.see(CONTRAST);
            assert!(least[0].as_f64().unwrap() >= 4.5, "{what}: {least} is hard to read");
            let title = browser.see("document.querySelector('h1').getBoundingClientRect()");
            assert!(title["bottom"].as_f64().unwrap() < f64::from(height) / 2.0, "{what}: the state is seen without scrolling: {title}");
        }
    }
}

#[test]
fn every_state_is_readable_on_a_desk_and_on_a_phone_by_day_and_by_night() {
    if !slow("every_state_is_readable_on_a_desk_and_on_a_phone_by_day_and_by_night") {
        return;
    }
    let mut redis = Redis::reserve();
    let run = Portcullis::new();
    let child = run.script("child", &polite()).display().to_string();
    let until = run.script("until", "while [ ! -e \"$1\" ]; do sleep 0.1; done\nexit $2\n").display().to_string();
    let dir = run.dir().to_owned();
    let gates = dir.display();
    // Everything that the page can show, with words that are as long as words get; each step waits for a file of its name.
    let toml = format!(
        "mode = \"api\"\nservice = \"api\"\n\
         [checks.redis]\nurl = \"redis://127.0.0.1:{port}/0\"\ninterval = \"200ms\"\nfailure_threshold = 2\nwait = \"10m\"\n\
         [checks.a-search-engine-with-a-name-that-hardly-ends]\nurl = \"http://127.0.0.1:9/_cluster/health?wait_for_status=yellow&timeout=50s\"\nwait = \"0s\"\naffects = \"none\"\n\
         [checks.disk]\nurl = \"disk:///?free=1MiB\"\n\
         [migrations]\nenabled = true\nlock = \"none\"\ncommand = [\"{until}\", \"{gates}/migrated\", \"0\"]\n\
         [process]\ndrain_delay = \"100s\"\n\
         [modes.api]\ncommand = [\"{child}\"]\nstarted = {{ url = \"file://{gates}/up\", within = \"100s\" }}\n\
         [modules.beat]\ncommand = [\"{until}\", \"{gates}/crash\", \"3\"]\nrestart = \"always\"\n\
         [modules.reports]\ncommand = [\"{child}\"]\nstart = \"on-demand\"\n\
         [heartbeat]\nurl = \"redis://127.0.0.1:{port}/0\"\n[health]\ndetails = \"always\"\n",
        port = redis.port
    );
    let run = run.config(&toml).start();
    run.until_status("/livez", 200, secs(20));
    let browser = Browser::start();
    let says = |words: &str| eventually(&format!("the page says {words}"), secs(100), || run.get("/").body.contains(words).then_some(()));
    says("waiting for 1m ");
    look(&browser, &run, "waiting-long");
    redis = redis.started();
    says("STARTING<span>: migrating");
    look(&browser, &run, "migrating");
    File::create(dir.join("migrated")).unwrap();
    says("to pass its startup check</span>");
    look(&browser, &run, "starting");
    File::create(dir.join("up")).unwrap();
    run.until_status("/healthz", 200, secs(40));
    says("1 of 1 ready");
    look(&browser, &run, "serving");
    File::create(dir.join("crash")).unwrap();
    says("ended with status 3");
    look(&browser, &run, "crashing");
    std::fs::remove_file(dir.join("crash")).unwrap();
    run.until_status("/healthz", 200, secs(100));
    redis.stop();
    run.until_status("/healthz", 500, secs(40));
    says("SERVING<span>, degraded: redis</span>");
    look(&browser, &run, "degraded");
    run.signal(15);
    says("DRAINING<span>: ");
    look(&browser, &run, "draining");
    let failed = Portcullis::new();
    let held = "mode = \"api\"\n[process]\non_startup_failure = \"hold\"\n[modes.api]\ncommand = [\"false\"]\nstarted = { url = \"file:///nowhere/up\", within = \"9s\" }\n";
    let failed = failed.config(held).start();
    failed.until_status("/livez", 500, secs(40));
    eventually("the start has failed", secs(40), || failed.get("/").body.contains("DOWN<span>: the start failed").then_some(()));
    look(&browser, &failed, "down");
}
