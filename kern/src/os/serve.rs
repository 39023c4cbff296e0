//! Serving: an address, a worker, and an orderly end.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use kern_db::Pool;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::problem::Problem;
#[cfg(feature = "webhooks")]
use super::webhooks::{self, Deliveries};
use super::{AgentOS, Os, connections, openapi, proxy};
use crate::error::{Error, Result};
use crate::run::stop::Phase;
use crate::worker::{Worker, WorkerHandle};

/// How long requests that are being answered are waited for at the end.
const GRACE: Duration = Duration::from_secs(30);

/// A server that has started. Dropping it stops it without waiting for anything.
#[must_use = "a server ends when this is dropped: keep it, and call `shutdown` at the end"]
#[derive(Debug)]
pub struct OsServer {
    address: SocketAddr,
    os: AgentOS,
    worker: Option<WorkerHandle>,
    #[cfg(feature = "webhooks")]
    deliveries: Option<Deliveries>,
    end: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl AgentOS {
    /// Serves until the process is told to end (Ctrl-C, or SIGTERM where there is one), with a
    /// [`Worker`] that lets runs go on once they are decided.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn serve(self, address: &str) -> Result<()> {
        let server = self.start(address).await?;
        told_to_end().await;
        server.shutdown().await;
        Ok(())
    }

    /// Starts to serve, and gives the server: for programs that decide themselves when it ends. Port 0 is any free one.
    ///
    /// # Errors
    ///
    /// - [`Error::Setup`]: the address is none, or cannot be bound; or others than this machine could reach it, and nobody is
    ///   asked who they are.
    /// - [`Error::Store`]: the store could not be asked for its keys, or does not take the pools or the webhooks.
    pub async fn start(self, address: &str) -> Result<OsServer> {
        let refused = |what: String| Error::Setup(format!("`{address}` cannot be served: {what}"));
        let found: Vec<SocketAddr> = lookup_host(address).await.map_err(|error| refused(error.to_string()))?.collect();
        let asks = self.0.asks().await?;
        if let Some(open) = found.iter().find(|address| !asks && !is_of_this_machine(address.ip())) {
            let what = "others than this machine could reach it, and nobody is asked who they are: make a key with \
                        `kern keys create`, or take tokens with `.tokens(…)`, or serve 127.0.0.1";
            return Err(refused(format!("{} is no loopback address: {what}", open.ip())));
        }
        let listener = TcpListener::bind(&*found).await.map_err(|error| refused(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        #[cfg(feature = "jwks-url")]
        self.0.auth.fetch_ahead();
        self.0.set_pools().await?;
        // Before anything is done that they would be told of.
        #[cfg(feature = "webhooks")]
        let deliveries = webhooks::start(&self.0.db, &self.0.webhooks, self.0.stop()).await?;
        let worker = if self.0.has_worker { Some(self.0.worker().await?) } else { None };
        let router = openapi::router(Arc::clone(&self.0));
        let (end, ended) = oneshot::channel();
        let os = Arc::clone(&self.0);
        let serving = tokio::spawn(async move {
            connections::serve(listener, router, &os, async {
                // Whoever drops the server wants it to end, too.
                let _ = ended.await;
            })
            .await;
        });
        match asks {
            true => tracing::info!(%address, "AgentOS is served"),
            false => tracing::warn!(
                %address,
                "AgentOS is served to this machine; nobody is asked who they are, and every name is recorded as unverified"
            ),
        }
        Ok(OsServer {
            address,
            os: self,
            worker,
            #[cfg(feature = "webhooks")]
            deliveries,
            end: Some(end),
            serving,
        })
    }
}

impl Os {
    /// Writes the pools that the store has otherwise.
    async fn set_pools(&self) -> Result<()> {
        let stored = self.db.list_pools().await?;
        for (name, members) in &self.pools {
            let wanted: BTreeSet<&String> = members.iter().collect();
            let same = |pool: &Pool| pool.name == *name && pool.members.iter().collect::<BTreeSet<_>>() == wanted;
            if !stored.iter().any(same) {
                self.db.write_pool(name.clone(), members.clone(), None).await?;
            }
        }
        Ok(())
    }

    /// The worker of all agents.
    async fn worker(&self) -> Result<WorkerHandle> {
        let mut agents = self.agents.iter().cloned();
        let first = agents.next().expect("`build` has seen an agent");
        agents.fold(Worker::new(first), Worker::agent).await
    }
}

impl OsServer {
    /// The address that it is served on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: takes no more requests, starts no more calls, and waits for the bodies of tools and for the model, up to 30
    /// seconds. What has not ended by then is as a killed process leaves it: paused, or `unknown` where a body was under way.
    pub async fn shutdown(mut self) {
        if let Some(end) = self.end.take() {
            // Nobody listens any more where the server has ended early.
            let _ = end.send(());
        }
        let os = Arc::clone(&self.os.0);
        os.phase.send_replace(Phase::Closing);
        let worker = self.worker.take();
        let working = async {
            if let Some(worker) = worker {
                worker.shutdown().await;
            }
        };
        let served = async {
            if tokio::time::timeout(GRACE, &mut self.serving).await.is_err() {
                os.phase.send_replace(Phase::Closed);
            }
        };
        tokio::join!(working, served);
        // Requests that are under way are waited for. The rest is in the store, for whoever comes next.
        #[cfg(feature = "webhooks")]
        if let Some(deliveries) = self.deliveries.take() {
            deliveries.end().await;
        }
        self.serving.abort();
        if let Err(error) = os.db.close().await {
            let cause: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error = cause, "the store could not be closed in order");
        }
    }
}

impl Drop for OsServer {
    fn drop(&mut self) {
        self.os.0.phase.send_replace(Phase::Closed);
        self.serving.abort();
    }
}

/// Without credentials, accepts only requests under a name of this machine, through no proxy, and by no
/// page of another server. A page in a person's browser could otherwise ask for anything in their name, under a name that it has
/// pointed here (DNS rebinding) or with a form.
pub(super) fn refusal(headers: &HeaderMap, allowed: &[HeaderValue]) -> Option<Problem> {
    let of = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // Behind a proxy on this machine, every client has a loopback address and a name of this machine.
    if let Some(name) = proxy::forwarded_by(headers) {
        let what = format!(
            "this server has no credentials, and the header `{name}` shows that the request came through a proxy: create an \
             API key with `kern keys create NAME --scopes agent_os:admin`, or accept tokens with `.tokens(…)`"
        );
        return Some(Problem::new(StatusCode::FORBIDDEN, "forwarded_without_credentials", what));
    }
    // HTTP/1.1 has no request without it.
    let host = of(header::HOST).unwrap_or_default();
    if !is_name_of_this_machine(host) {
        let what = "this server is asked as localhost, or by its loopback address";
        return Some(Problem::new(StatusCode::FORBIDDEN, "forbidden_host", what));
    }
    let is_allowed = headers.get(header::ORIGIN).is_some_and(|origin| allowed.contains(origin));
    if !is_allowed && of(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
        let what = "pages of other servers may not ask this one";
        return Some(Problem::new(StatusCode::FORBIDDEN, "forbidden_origin", what));
    }
    None
}

pub(super) fn is_name_of_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_of_this_machine)
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Waits for Ctrl-C, or for SIGTERM.
async fn told_to_end() {
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C cannot be listened for");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened for");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known_from_those_that_point_at_it() {
        for name in [
            "localhost",
            "localhost:7777",
            "LOCALHOST:1",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:7777",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_name_of_this_machine(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
            "0.0.0.0:1",
            "[::]:1",
            "a b",
        ] {
            assert!(!is_name_of_this_machine(name), "{name}");
        }
    }
}
