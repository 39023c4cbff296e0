//! Connections, from the listener to the routes: as many as there may be, and none for longer than it asks for something.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;

use super::Os;
use super::addresses::{Address, Connections};
use super::proxy::Peer;

/// How long it is waited when the system gives no connection: most of the time it has no more open files.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to one connection too many of an address.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
connection: close\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\"code\":\"too_many_connections\",\
\"detail\":\"close a connection of this address\"}";

/// Serves until `ended`, and then until everything is answered that was asked.
pub(super) async fn serve(listener: TcpListener, router: Router, os: &Os, ended: impl Future<Output = ()>) {
    let limits = &os.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_header_size(limits.head)
        // Room for the largest head, and no more than hyper asks for at the least.
        .max_buf_size(limits.head.max(8192) + 8192);
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    let by_address = Connections::default();
    let mut ended = pin!(ended);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut ended => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // The connections of a trusted proxy are those of many clients.
        let counted = match os.proxies.trusts(address.ip().to_canonical()) {
            true => None,
            false => match by_address.open(Address::of(address.ip()), limits.connections_each) {
                Some(counted) => Some(counted),
                None => {
                    tracing::debug!(%address, "an address has too many connections");
                    // A client that does not read it sees a closed connection.
                    let _ = stream.try_write(TOO_MANY);
                    continue;
                }
            },
        };
        // Events are small, and somebody waits for each. Without it they come a little later.
        let _ = stream.set_nodelay(true);
        let (routes, peer) = (TowerToHyperService::new(router.clone()), Peer(address.ip()));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            routes.call(request)
        });
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(limits.answer_time));
        let connection = open.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            // A client that went away, or took too long.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, counted));
        });
    }
    // Whoever comes from now on is refused by the system.
    drop(listener);
    open.shutdown().await;
}
