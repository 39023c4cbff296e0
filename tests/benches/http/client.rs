//! The load: keep-alive connections that do nothing but write requests and read answers.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(512 << 10) })
    }

    /// Sends a request, and gives the status and the body of its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            self.fill().await?;
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, length) = said(&self.read[..head])?;
        while self.read.len() < head + length {
            self.fill().await?;
        }
        Ok((status, &self.read[head..]))
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The status and the length that a head names.
fn said(head: &[u8]) -> io::Result<(u16, usize)> {
    let said = std::str::from_utf8(head).ok().and_then(|head| {
        let status = head.get(9..12)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        Some((status, length.parse().ok()?))
    });
    said.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The decision about an approval.
pub(crate) fn resolve(id: &str) -> Vec<u8> {
    post(&format!("/approvals/{id}/resolve"), r#"{"status":"approved","resolved_by":"bob"}"#)
}

/// What a server did under load.
#[derive(Debug)]
pub(crate) struct Done {
    /// Answers a second.
    pub(crate) rate: f64,
    /// How long each took.
    pub(crate) times: Vec<Duration>,
}

impl Done {
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let place = (times.len() as f64 * share) as usize;
        times[place.min(times.len() - 1)]
    }
}

/// Asks for the same over so many connections, for so long.
pub(crate) async fn ask(address: SocketAddr, request: &[u8], connections: usize, time: Duration) -> Done {
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..connections {
        let request = request.to_owned();
        tasks.spawn(async move {
            let mut connection = Connection::to(address).await.expect("the server takes connections");
            let mut times = Vec::new();
            while started.elapsed() < time {
                let asked = Instant::now();
                let (status, _) = connection.send(&request).await.expect("the server answers");
                assert_eq!(status, 200);
                times.push(asked.elapsed());
            }
            times
        });
    }
    finish(tasks, started).await
}

/// Sends each of these once, over so many connections.
pub(crate) async fn send(address: SocketAddr, requests: Vec<Vec<u8>>, connections: usize) -> Done {
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    let share = requests.len().div_ceil(connections);
    for requests in requests.chunks(share).map(<[_]>::to_vec) {
        tasks.spawn(async move {
            let mut connection = Connection::to(address).await.expect("the server takes connections");
            let mut times = Vec::new();
            for request in &requests {
                let asked = Instant::now();
                let (status, body) = connection.send(request).await.expect("the server answers");
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
                times.push(asked.elapsed());
            }
            times
        });
    }
    finish(tasks, started).await
}

async fn finish(tasks: JoinSet<Vec<Duration>>, started: Instant) -> Done {
    let times: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    Done { rate: times.len() as f64 / started.elapsed().as_secs_f64(), times }
}

/// Sends each of these once, one every so often, whether those before are answered or not: what is measured is counted from when
/// it was to be sent.
pub(crate) async fn paced(address: SocketAddr, requests: Vec<Vec<u8>>, every: Duration) -> Done {
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for (request, place) in requests.into_iter().zip(0..) {
        let due = started + every * place;
        tasks.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            let mut connection = Connection::to(address).await.expect("the server takes connections");
            let (status, body) = connection.send(&request).await.expect("the server answers");
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
            vec![due.elapsed()]
        });
    }
    finish(tasks, started).await
}

/// Sends a head byte by byte, and comes back when it is cut off.
pub(crate) async fn dawdle(address: SocketAddr) {
    let head = get("/approvals?limit=1&more=of&what=nobody&ever=reads&and=that&takes=longer&than=anybody&should=wait");
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            for byte in &head {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks for events and takes none, and comes back when it is cut off.
pub(crate) async fn stall(address: SocketAddr) {
    loop {
        let socket = TcpSocket::new_v4().expect("there is a socket");
        // What the system keeps for it would hide that nobody reads.
        socket.set_recv_buffer_size(4096).expect("a buffer can be small");
        if let Ok(mut stream) = socket.connect(address).await
            && stream.write_all(&get("/approvals/events")).await.is_ok()
        {
            // A stream that is gone says so when it is written to.
            while stream.write_all(b"\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
