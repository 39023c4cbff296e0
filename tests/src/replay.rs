//! Recorded provider traffic, and the server that replays it. Both lie beside a checkout: `KERN_SHARED`, else `../shared`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

/// Loading all recordings takes the server a second or two.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Gives the folder of the recordings.
///
/// # Panics
///
/// When it is not there. Tests that need it are behind the feature `shared`, so they never pass by being skipped.
pub fn wire_folder() -> PathBuf {
    let shared = match std::env::var_os("KERN_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    let wire = shared.join("wire");
    assert!(
        wire.join("replay.py").is_file(),
        "no recordings in {}: set KERN_SHARED to the folder that holds `wire`",
        wire.display()
    );
    wire
}

/// One recorded exchange.
#[derive(Clone, Debug, Deserialize)]
pub struct Exchange {
    /// Its name, which is its file's.
    pub name: String,
    /// `recorded` is real; `fixture` was shortened or edited at its source.
    pub kind: String,
    /// The wire format, for example `openai-chat`.
    pub provider: String,
    /// Who answered.
    pub vendor: String,
    /// The conversation it belongs to.
    pub group: String,
    /// Its place there.
    pub index: usize,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// What it shows.
    pub features: Vec<String>,
    /// `method`, `path`, `headers`, `body`; null where only the answer was recorded.
    pub request: Value,
    /// `status`, `headers`, and the answer.
    pub response: Value,
    /// What the provider's official SDK made of the answer.
    pub expect: Value,
}

/// Loads the exchanges that a test wants, by name.
///
/// # Panics
///
/// When a recording cannot be read.
pub fn exchanges(wanted: impl Fn(&Exchange) -> bool) -> Vec<Exchange> {
    let folder = wire_folder().join("exchanges");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<Exchange> = entries
        .map(|entry| entry.expect("a folder that was opened can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .filter(&wanted)
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// A running `replay.py`. It ends when this is dropped.
#[derive(Debug)]
pub struct ReplayServer {
    process: Child,
    address: SocketAddr,
}

impl ReplayServer {
    /// Starts one on a free port of the loopback and waits until it answers.
    ///
    /// # Panics
    ///
    /// When there is no `python3`, or the server does not answer within a minute.
    pub fn start() -> Self {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // Between this look and the server's own bind another process may take the port. Then the next one is tried.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
            let address = free.expect("the loopback has a free port");
            let process = Command::new("python3")
                .arg(wire_folder().join("replay.py"))
                .args(["serve", "--port", &address.port().to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .stdin(Stdio::null())
                .spawn()
                .expect("python3 starts");
            let mut server = Self { process, address };
            while server.process.try_wait().expect("a child can be asked for its state").is_none() {
                // Its own list tells it from another server that got the port.
                if matches!(server.get("/__exchanges"), Ok(Value::Array(names)) if !names.is_empty()) {
                    return server;
                }
                assert!(Instant::now() < deadline, "the replay server does not answer");
                thread::sleep(Duration::from_millis(50));
            }
            assert!(Instant::now() < deadline, "the replay server does not start");
        }
    }

    /// Gives the address under which one exchange is replayed, without `/v1`. Options follow a `~` in the name.
    pub fn base_url_exchange(&self, name: &str) -> String {
        format!("http://{}/x/{name}", self.address)
    }

    /// Gives the address under which a conversation is replayed in order, without `/v1`.
    pub fn base_url_group(&self, group: &str) -> String {
        format!("http://{}/s/{group}", self.address)
    }

    /// Gives what clients have sent, in order: `exchange`, `path`, `headers`, `body`, ….
    ///
    /// # Panics
    ///
    /// When the server is gone.
    pub fn log(&self) -> Vec<Value> {
        match self.get("/__log") {
            Ok(Value::Array(rows)) => rows,
            other => panic!("the replay server has no log: {other:?}"),
        }
    }

    /// Sends a GET of the server's own. One request needs no HTTP client among the dependencies.
    fn get(&self, path: &str) -> io::Result<Value> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let body = head.map(|end| &answer[end + 4..]).unwrap_or_default();
        serde_json::from_slice(body).map_err(io::Error::other)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
