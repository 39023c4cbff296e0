//! Places where a tool or a model waits until the test lets it go on.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel};
use kern::run::Role;
use tokio::sync::Semaphore;

/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(30);

/// One place.
#[derive(Debug)]
pub struct Gate {
    arrived: Semaphore,
    opened: Semaphore,
}

static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);

/// Gives the place of this name. A tool's is its session's.
#[must_use]
pub fn gate(name: &str) -> Arc<Gate> {
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    let closed = || Arc::new(Gate { arrived: Semaphore::new(0), opened: Semaphore::new(0) });
    Arc::clone(gates.entry(name.to_owned()).or_insert_with(closed))
}

impl Gate {
    /// Says that somebody is here, and waits until the gate opens.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        self.opened.acquire().await.expect("a gate is never closed for good").forget();
    }

    /// Waits until somebody is here.
    ///
    /// # Panics
    ///
    /// When nobody comes.
    pub async fn arrival(&self) {
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.acquire()).await;
        arrived.expect("somebody comes to the gate").expect("a gate is never closed for good").forget();
    }

    /// Lets one of those who are here go on.
    pub fn open(&self) {
        self.opened.add_permits(1);
    }
}

/// A scripted model that waits at a gate before one of its turns, counted from 0.
#[derive(Debug)]
pub struct SlowModel {
    script: ScriptedModel,
    turn: usize,
    gate: Arc<Gate>,
}

impl SlowModel {
    /// Makes one.
    #[must_use]
    pub fn new(script: ScriptedModel, turn: usize, gate: Arc<Gate>) -> Self {
        Self { script, turn, gate }
    }
}

impl Model for SlowModel {
    fn id(&self) -> &str {
        Model::id(&self.script)
    }

    fn provider(&self) -> &str {
        Model::provider(&self.script)
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        let own = request.messages.iter().filter(|message| !message.from_history);
        let played = own.filter(|message| message.role == Role::Assistant).count();
        Box::pin(async move {
            if played == self.turn {
                self.gate.pass().await;
            }
            self.script.respond(request).await
        })
    }
}
