//! A server on this machine that keeps what it is asked, and answers as a test says: a receiver of webhooks, an issuer of
//! tokens.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::Certificate;

/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Its body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// What happened.
    #[must_use]
    pub fn topic(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// What a receiver answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, and lines of further headers.
    Status(u16, String),
    /// A status, and a body.
    Body(u16, Vec<u8>),
    /// A status, and a body that comes byte by byte, with so much time between them.
    Slow(u16, Vec<u8>, Duration),
    /// A status, and a body without an end.
    Endless(u16),
    /// The end of the connection.
    HangUp,
    /// Nothing, while the connection stays.
    Silence,
}

impl Reply {
    /// A status alone.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// What a receiver answers to which request, by how many it had before.
type Answers = Arc<dyn Fn(usize, &Received) -> Reply + Send + Sync>;

/// A receiver. It is gone when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Its address.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One that answers so.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn answering(answers: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().expect("it is an address"), answers).await
    }

    /// One that answers so, at this address.
    ///
    /// # Panics
    ///
    /// When it is somebody else's.
    pub async fn at(address: SocketAddr, answers: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(address, None, Arc::new(answers)).await
    }

    /// One that takes everything, over TLS.
    ///
    /// # Panics
    ///
    /// When there is no port for it, or the certificate is none.
    pub async fn over_tls(certificate: &Certificate) -> Self {
        let chain = CertificateDer::pem_file_iter(&certificate.file).expect("the certificate can be read");
        let chain = chain.collect::<Result<_, _>>().expect("it is one");
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("the key can be read");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = "127.0.0.1:0".parse().expect("it is an address");
        Self::listening(address, Some(acceptor), Arc::new(|_, _| Reply::status(204))).await
    }

    async fn listening(address: SocketAddr, tls: Option<TlsAcceptor>, answers: Answers) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&received);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answers, tls) = (Arc::clone(&kept), Arc::clone(&answers), tls.clone());
                // Whoever hangs up has had its answer, or waits for none.
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(stream).await?, kept, answers).await,
                        None => serve(stream, kept, answers).await,
                    }
                });
            }
        });
        Self { address, received, serving }
    }

    /// One that takes everything.
    pub async fn new() -> Self {
        Self::answering(|_, _| Reply::status(204)).await
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook?key=s3cret-of-the-address", self.address)
    }

    /// What it has got so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has got so many requests.
    ///
    /// # Panics
    ///
    /// When they do not come.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let come = async {
            while self.received().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, come).await;
        assert!(come.is_ok(), "{count} requests are waited for, and these came: {:?}", self.received());
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    kept: Arc<Mutex<Vec<Received>>>,
    answers: Answers,
) -> std::io::Result<()> {
    let (reading, mut writing) = tokio::io::split(stream);
    let mut reading = BufReader::new(reading);
    loop {
        let Some(received) = read(&mut reading).await? else { return Ok(()) };
        let before = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(received.clone());
            kept.len() - 1
        };
        match answers(before, &received) {
            Reply::Status(status, headers) => {
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
                writing.write_all(answer.as_bytes()).await?;
                writing.flush().await?;
            }
            Reply::Body(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                writing.write_all(&[head.as_bytes(), &body].concat()).await?;
            }
            Reply::Slow(status, body, pause) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                writing.write_all(head.as_bytes()).await?;
                for byte in body {
                    tokio::time::sleep(pause).await;
                    writing.write_all(&[byte]).await?;
                }
            }
            Reply::HangUp => return Ok(()),
            Reply::Endless(status) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\n\r\n");
                writing.write_all(head.as_bytes()).await?;
                loop {
                    writing.write_all(&[b'x'; 65536]).await?;
                }
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

async fn read(reading: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> std::io::Result<Option<Received>> {
    let (mut headers, mut line) = (HeaderMap::new(), String::new());
    if reading.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        reading.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(std::io::Error::other)?;
        headers.append(name, HeaderValue::from_str(value).map_err(std::io::Error::other)?);
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reading.read_exact(&mut body).await?;
    Ok(Some(Received { headers, body }))
}
