//! Chromium and its driver, with a profile of its own for each browser, and as much of WebDriver as the scenarios need.
//!
//! It is spoken here and not by a crate: `thirtyfour` has `serde_json` keep the order of objects, in kern's own build as well,
//! and the tests would be about something else than what ships.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use kern_tests::folder::Folder;
use serde_json::{Value, json};

use super::PATIENCE;

const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A page that scrolls by and by is not where a click was aimed at.
    "--force-prefers-reduced-motion",
    "--window-size=1200,900",
];

/// A driver on a free port.
struct Driver {
    process: Child,
    port: u16,
}

/// The one that there is, as long as a browser has it: a static is never dropped, and would leave it running.
static DRIVER: Mutex<Weak<Driver>> = Mutex::new(Weak::new());

impl Driver {
    fn shared() -> Arc<Self> {
        let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        driver.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self::start());
            *driver = Arc::downgrade(&made);
            made
        })
    }

    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("`chromedriver` is installed, see tests/run");
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "chromedriver ended without a port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim().trim_end_matches('.').parse().unwrap();
            }
        };
        // It says little more, and would wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { process, port }
    }

    /// Has it end its browsers, which a signal would leave behind, and itself.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /shutdown HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.shut_down().is_ok() {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(5) && matches!(self.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Keys that are no characters, as WebDriver writes them.
pub(super) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const CONTROL: &str = "\u{e009}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
}

/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the driver says instead of a value.
#[derive(Debug)]
struct Refused {
    /// The stable name of the error.
    error: String,
    message: String,
}

/// A WebDriver session.
struct Session {
    http: reqwest::Client,
    url: String,
}

impl Session {
    async fn start(port: u16, capabilities: &Value) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        let mut session = Self { http, url: format!("http://127.0.0.1:{port}/session") };
        let made = session.post("", json!({ "capabilities": { "alwaysMatch": capabilities } })).await;
        let made = made.expect("Chromium starts");
        session.url = format!("{}/{}", session.url, made["sessionId"].as_str().unwrap());
        session
    }

    async fn post(&self, command: &str, parameters: Value) -> Result<Value, Refused> {
        Self::answer(self.http.post(format!("{}{command}", self.url)).json(&parameters)).await
    }

    async fn end(&self) -> Result<Value, Refused> {
        Self::answer(self.http.delete(&self.url)).await
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Value, Refused> {
        let response = request.send().await.expect("the driver answers");
        let is_good = response.status().is_success();
        let mut answer: Value = response.json().await.expect("the driver answers in JSON");
        let value = answer["value"].take();
        if is_good {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Err(Refused { error: text("error"), message: text("message") })
    }

    /// Runs a script, at once (`sync`) or until it has given its last argument a value (`async`).
    async fn script(&self, how: &str, script: &str, arguments: &[Value]) -> Result<Value, Refused> {
        self.post(&format!("/execute/{how}"), json!({ "script": script, "args": arguments })).await
    }

    /// Finds an element and gives its id.
    async fn find(&self, selector: &str) -> Result<String, Refused> {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await?;
        Ok(found[ELEMENT].as_str().unwrap().to_owned())
    }

    async fn keys(&self, keys: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": keys });
        self.post("/actions", json!({ "actions": [keyboard] })).await.unwrap();
    }

    /// What has been logged since this was last asked.
    async fn log(&self, of: &str) -> Vec<Value> {
        self.post("/se/log", json!({ "type": of })).await.unwrap().as_array().unwrap().clone()
    }
}

/// A browser with a profile of its own: what one person has in front of them.
pub(super) struct Browser {
    session: Session,
    base: String,
    closed: bool,
    // Dropped after the browser that uses them.
    _profile: Folder,
    _process: Arc<Driver>,
}

impl Browser {
    pub(super) async fn open(base: &str) -> Self {
        let process = Driver::shared();
        let profile = Folder::new();
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().copied().chain([&*profile_flag]).collect();
        // Not the page that it opens otherwise, which asks its maker for this and that.
        let first = json!({ "session.restore_on_startup": 4, "session.startup_urls": ["about:blank"] });
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags, "prefs": first },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let session = Session::start(process.port, &capabilities).await;
        Self { session, base: base.to_owned(), closed: false, _profile: profile, _process: process }
    }

    /// Opens a page of the server.
    pub(super) async fn go(&self, path: &str) {
        self.session.post("/url", json!({ "url": format!("{}{path}", self.base) })).await.unwrap();
    }

    /// What a script gives. It is the driver's, and so no matter of the page's policy.
    pub(super) async fn value(&self, script: &str) -> Value {
        self.value_of(script, []).await
    }

    pub(super) async fn value_of<const N: usize>(&self, script: &str, arguments: [Value; N]) -> Value {
        let value = self.session.script("sync", script, &arguments).await;
        value.unwrap_or_else(|refused| panic!("{script:.500}: {refused:?}"))
    }

    /// What a script gives that has to be waited for: its last argument takes it.
    pub(super) async fn value_later(&self, script: &str) -> Value {
        let value = self.session.script("async", script, &[]).await;
        value.unwrap_or_else(|refused| panic!("{script:.500}: {refused:?}"))
    }

    /// Waits until an expression is true of the page.
    pub(super) async fn until(&self, expression: &str) {
        let begun = Instant::now();
        // While one page follows another there is none to ask.
        let script = format!("return Boolean({expression})");
        loop {
            let found = self.session.script("sync", &script, &[]).await;
            if matches!(found, Ok(Value::Bool(true))) {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let page = self.value("return location.href + '\\n' + document.body.innerText").await;
                let why = found.err().map(|refused| refused.message).unwrap_or_default();
                panic!("never: {expression} {why}\n{:.4000}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until a text stands in what people see of an element.
    pub(super) async fn shows(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!("document.querySelector({selector})?.innerText.includes({text})")).await;
    }

    /// Waits until a page is open.
    pub(super) async fn arrives(&self, path: &str) {
        self.until(&format!(
            "location.pathname + location.search === {} && document.readyState === 'complete'",
            json!(path)
        ))
        .await;
    }

    /// What people see of an element.
    pub(super) async fn text(&self, selector: &str) -> String {
        let text = self.value_of("return document.querySelector(arguments[0])?.innerText", [json!(selector)]).await;
        text.as_str().unwrap_or_else(|| panic!("no {selector}")).to_owned()
    }

    /// How many elements there are.
    pub(super) async fn count(&self, selector: &str) -> u64 {
        let count = self.value_of("return document.querySelectorAll(arguments[0]).length", [json!(selector)]).await;
        count.as_u64().unwrap()
    }

    /// Clicks on an element where a person would: it has to be in sight, and nothing over it.
    pub(super) async fn click(&self, selector: &str) {
        let begun = Instant::now();
        loop {
            let clicked = async {
                let id = self.session.find(selector).await?;
                // As somebody does who looks for it: the driver takes what is behind the bar at the bottom for seen.
                let into_view = "arguments[0].scrollIntoView({ block: 'nearest' })";
                self.session.script("sync", into_view, &[json!({ ELEMENT: id })]).await?;
                self.session.post(&format!("/element/{id}/click"), json!({})).await
            };
            let clicked = clicked.await;
            let Err(refused) = clicked else { return };
            // The page follows what happens: the element may come yet, or be another one by now.
            let may_come = ["no such element", "stale element reference"].contains(&&*refused.error);
            assert!(may_come && begun.elapsed() < PATIENCE, "click on {selector}: {refused:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Writes into a field, in place of what stands in it.
    pub(super) async fn write(&self, selector: &str, text: &str) {
        let field = self.session.find(selector).await.unwrap_or_else(|_| panic!("no {selector}"));
        self.session.post(&format!("/element/{field}/clear"), json!({})).await.unwrap();
        self.session.post(&format!("/element/{field}/value"), json!({ "text": text })).await.unwrap();
    }

    /// Presses keys, wherever the focus is.
    pub(super) async fn press(&self, keys: &str) {
        // Before a page is painted nobody can press anything, and Chromium lets keys fall that come earlier.
        let painted = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))";
        self.session.script("async", painted, &[]).await.unwrap();
        let pressed = |key: char| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() }));
        self.session.keys(keys.chars().flat_map(pressed).collect()).await;
    }

    /// Chooses all that stands in the field that has the focus.
    pub(super) async fn choose_all(&self) {
        let keys = [("keyDown", key::CONTROL), ("keyDown", "a"), ("keyUp", "a"), ("keyUp", key::CONTROL)];
        self.session.keys(keys.iter().map(|(what, key)| json!({ "type": what, "value": key })).collect()).await;
    }

    /// Has pages be light or dark.
    pub(super) async fn prefers(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": features });
        self.session.post("/goog/cdp/execute", command).await.unwrap();
    }

    /// Ends it: nothing went wrong in its console, and nothing was asked of another host.
    pub(super) async fn close(self) {
        self.close_after(&[]).await;
    }

    /// The same, but for these errors, which were asked for: each has to be there.
    pub(super) async fn close_after(mut self, expected: &[&str]) {
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let logged = self.session.log("browser").await;
        let errors = logged.iter().filter(|entry| ["SEVERE", "WARNING"].contains(&&*text(entry, "level")));
        let mut errors: Vec<String> = errors.map(|entry| text(entry, "message")).collect();
        for expected in expected {
            let place = errors.iter().position(|error| error.contains(expected));
            errors.remove(place.unwrap_or_else(|| panic!("no `{expected}` among {errors:?}")));
        }
        assert!(errors.is_empty(), "in the console: {errors:?}");
        let mut asked = 0;
        for entry in self.session.log("performance").await {
            let event: Value = serde_json::from_str(&text(&entry, "message")).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                let own = url.strip_prefix(&*self.base).is_some_and(|rest| rest.starts_with('/'));
                assert!(own || url.starts_with("data:"), "asked for {url}");
                asked += usize::from(own);
            }
        }
        assert!(asked > 0, "nothing was watched");
        self.closed = true;
        self.session.end().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        assert!(self.closed || std::thread::panicking(), "a scenario ends with `close`: its console was not looked at");
    }
}
