//! A call that may run, with the permit that names its tool. Only kern makes one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kern_db::{CallClaim, Db, ExecutionId, RunId, Ticket, Tier, WrongTool};

use super::wire_json::read_arguments;
use super::{ApprovalPolicy, Arguments, RunContext, Tool, ToolDescriptor, ToolError};
use crate::approval::policy::approval_needed;

/// A call on its way into a tool's body: the arguments and the context, with the permission to run.
///
/// It has no public constructor. For a protected tool kern makes it from a claim that the store has committed; the
/// arguments are the ones that claim returned.
///
/// The permission names its tool, and counts once and only while kern waits for the call. A body made by `#[tool]` or
/// `#[toolkit]` compares it with its own descriptor before anything else. A call that was allowed for another tool is
/// refused (`wrong_tool`) and recorded as evidence, so handing it on enters nothing. To give a tool another name, another
/// description or another result, adapt its [`ToolHandle`](super::ToolHandle), which keeps the policy.
#[derive(Debug)]
pub struct ToolCall {
    arguments: Arguments,
    context: RunContext,
    permit: Permit,
}

/// What a call may enter.
#[derive(Debug)]
struct Permit {
    /// The name of the tool that kern allowed the call for: an adapter's own, also inside of its origin.
    allowed: String,
    /// The identity of the tool that may be entered.
    identity: String,
    /// The tier of the call. `None`: no person was asked, and no record is kept.
    tier: Option<Tier>,
    /// The start that a committed claim allows, and the digest that was decided on. `None`: the call has no execution.
    start: Option<(Ticket, String)>,
    uses: Arc<Uses>,
}

/// How often a call was entered, shared between the call and the one who waits for it.
#[derive(Debug)]
struct Uses {
    place: Option<Place>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    refused: Vec<WrongTool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Entered,
    /// kern no longer waits for the call: its outcome is recorded, or about to be.
    Over,
}

/// Where a call belongs, and where refusals of it are recorded.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) db: Arc<dyn Db>,
    pub(crate) run_id: RunId,
    pub(crate) turn: u32,
    pub(crate) index: u32,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run_id, self.turn, self.index)
    }
}

tokio::task_local! {
    /// The call that this task runs. It differs from the permit's where a call was kept and handed to a later one.
    static CURRENT: Arc<Uses>;
}

/// Keeps a call's permit open while kern waits for the call. Dropping it closes the permit.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Uses>);

impl Waiting {
    /// Runs a body as this call.
    pub(crate) fn run<F: Future>(&self, body: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(Arc::clone(&self.0), body)
    }

    /// Closes the permit, and records what was refused with it. That it cannot be recorded does not change the outcome of
    /// the call.
    pub(crate) async fn close(self) {
        let refused = std::mem::take(&mut self.0.close().refused);
        for refused in refused {
            self.0.record(refused).await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let refused = std::mem::take(&mut self.0.close().refused);
        for refused in refused {
            self.0.record_beside(refused);
        }
    }
}

impl Uses {
    fn new(place: Option<Place>) -> Arc<Self> {
        Arc::new(Self { place, state: Mutex::new(State { phase: Phase::Open, refused: Vec::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.phase = Phase::Over;
        state
    }

    /// Whether this task runs another call.
    fn is_elsewhere(self: &Arc<Self>) -> bool {
        CURRENT.try_with(|current| !Arc::ptr_eq(current, self)).unwrap_or(false)
    }

    /// Enters the body, once.
    ///
    /// The permit is taken under the lock that closes it: a call that was moved to a task of its own would otherwise start
    /// between the outcome and its record.
    ///
    /// # Errors
    ///
    /// Why not.
    fn enter(&self) -> Result<(), &'static str> {
        let mut state = self.state();
        match state.phase {
            Phase::Open => {
                state.phase = Phase::Entered;
                Ok(())
            }
            Phase::Entered => Err(USED),
            Phase::Over => Err(OVER),
        }
    }

    /// Notes a refusal. The one who waits for the call records it; where no one does, it is recorded at once.
    fn refuse(self: &Arc<Self>, refused: WrongTool) {
        let mut state = self.state();
        if state.phase == Phase::Over {
            drop(state);
            self.record_beside(refused);
        } else {
            state.refused.push(refused);
        }
    }

    async fn record(&self, refused: WrongTool) {
        let Some(place) = &self.place else { return };
        let (allowed, entered) = (refused.allowed.clone(), refused.entered.clone());
        if let Err(error) = place.db.record_wrong_tool(refused).await {
            tracing::error!(call = ?place, %allowed, %entered, %error, "a refused call is not in the audit log");
        }
    }

    fn record_beside(self: &Arc<Self>, refused: WrongTool) {
        let uses = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { uses.record(refused).await })),
            Err(_) => tracing::error!(?refused, "a refused call is not in the audit log: no runtime is left"),
        }
    }
}

const OTHER: &str = "the call was allowed for another tool";
const UNASKED: &str = "the tool needs an approval for these arguments, and none was asked for";
const ELSEWHERE: &str = "the permit belongs to another call";
const USED: &str = "the permit was used";
const OVER: &str = "the call has ended";

impl ToolCall {
    /// The arguments, checked before anybody was asked.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Where the call belongs.
    pub fn context(&self) -> &RunContext {
        &self.context
    }

    /// Gives both away, without comparing the permit: for the body of a tool without a policy. See [`enter`](Self::enter).
    pub fn into_parts(self) -> (Arguments, RunContext) {
        (self.arguments, self.context)
    }

    /// Enters the body of a tool made by hand, and gives it the arguments and the context. Call it before the body has any
    /// effect: a generated body does the same.
    ///
    /// # Errors
    ///
    /// `wrong_tool`: the call was allowed for another tool, was used before, or has ended. Return the error.
    pub fn enter(self, tool: &dyn Tool) -> Result<(Arguments, RunContext), ToolError> {
        Admission::new(self, tool).admit()
    }

    /// A call that nobody is asked about: the tool has no policy, or `when` said that it does not apply.
    pub(crate) fn plain(
        arguments: Arguments,
        context: RunContext,
        descriptor: &ToolDescriptor,
        place: Place,
    ) -> (Self, Waiting) {
        let permit = Permit::new(descriptor, None, None, Uses::new(Some(place)));
        Self { arguments, context, permit }.waited_for()
    }

    /// The call that a committed claim allows, with the arguments of that claim. Consumes the claim.
    ///
    /// # Errors
    ///
    /// What does not fit: the claim is for another tool than this one, or its arguments cannot be read.
    pub(crate) fn claimed(
        claim: CallClaim,
        descriptor: &ToolDescriptor,
        tier: Tier,
        place: Place,
        context: impl FnOnce(&CallClaim) -> RunContext,
    ) -> Result<(Self, Waiting, Ticket), (Ticket, String)> {
        let ticket = claim.ticket();
        if claim.tool_name() != descriptor.name {
            return Err((ticket, format!("the claim is for tool `{}`, not `{}`", claim.tool_name(), descriptor.name)));
        }
        let start = (ticket.clone(), claim.decided_digest().to_owned());
        // Canonical text that passed the same reader before it was digested; the limit was applied then.
        match read_arguments(claim.arguments(), usize::MAX) {
            Ok(arguments) => {
                let permit = Permit::new(descriptor, Some(tier), Some(start), Uses::new(Some(place)));
                let (call, waiting) = Self { arguments, context: context(&claim), permit }.waited_for();
                Ok((call, waiting, ticket))
            }
            Err(error) => Err((ticket, error)),
        }
    }

    fn waited_for(self) -> (Self, Waiting) {
        let waiting = Waiting(Arc::clone(&self.permit.uses));
        (self, waiting)
    }

    /// Makes a call for a test of the generated entry points.
    #[cfg(test)]
    pub(crate) fn for_test(arguments: Arguments, descriptor: &ToolDescriptor) -> Self {
        Self {
            arguments,
            context: RunContext::for_test(),
            permit: Permit::new(descriptor, None, None, Uses::new(None)),
        }
    }
}

impl Permit {
    fn new(descriptor: &ToolDescriptor, tier: Option<Tier>, start: Option<(Ticket, String)>, uses: Arc<Uses>) -> Self {
        Self { allowed: descriptor.name.clone(), identity: descriptor.identity(), tier, start, uses }
    }

    fn execution_id(&self) -> Option<ExecutionId> {
        self.start.as_ref().map(|(ticket, _)| ticket.execution_id().clone())
    }
}

/// A call that was handed to a tool, on its way through the comparison of its permit with that tool.
#[derive(Debug)]
pub struct Admission {
    call: ToolCall,
    entered: String,
    refused: Option<&'static str>,
}

impl Admission {
    pub(crate) fn new(call: ToolCall, tool: &dyn Tool) -> Self {
        let descriptor = tool.descriptor();
        let needs_approval = || {
            descriptor.policy.approval == Some(ApprovalPolicy::Required)
                && !matches!(call.permit.tier, Some(Tier::Required | Tier::TwoStage))
                && approval_needed(tool, &call.arguments)
        };
        let refused = if call.permit.identity != descriptor.identity() {
            Some(OTHER)
        } else if call.permit.uses.is_elsewhere() {
            Some(ELSEWHERE)
        // A hand-written tool with this descriptor and a `when` of its own has the same identity.
        } else if needs_approval() {
            Some(UNASKED)
        } else {
            None
        };
        Self { entered: descriptor.name.clone(), call, refused }
    }

    /// Takes the permit, and gives the arguments and the context to the body, which starts next.
    ///
    /// # Errors
    ///
    /// `wrong_tool`: the body must not be entered.
    pub fn admit(self) -> Result<(Arguments, RunContext), ToolError> {
        let ToolCall { arguments, context, .. } = self.pass(|uses| uses.enter())?;
        Ok((arguments, context))
    }

    /// Passes an adapter: the call may enter the tool that the adapter stands for, and nothing else any more.
    ///
    /// # Errors
    ///
    /// `wrong_tool`: the call was not allowed for the adapter.
    pub(super) fn readdress(self, origin: &ToolDescriptor) -> Result<ToolCall, ToolError> {
        let mut call = self.pass(|_| Ok(()))?;
        call.permit.identity = origin.identity();
        Ok(call)
    }

    fn pass(self, enter: impl FnOnce(&Uses) -> Result<(), &'static str>) -> Result<ToolCall, ToolError> {
        let Self { call, entered, refused } = self;
        let uses = &call.permit.uses;
        let passed = match refused {
            Some(why) => Err(why),
            // Asked again: the body starts now, and perhaps in another task than the one that it was made in.
            None if uses.is_elsewhere() => Err(ELSEWHERE),
            None => enter(uses),
        };
        let Err(why) = passed else { return Ok(call) };
        let allowed = call.permit.allowed.clone();
        let error = ToolError::wrong_tool(&allowed, &entered, why);
        tracing::error!(%allowed, %entered, why, "a tool refused a call");
        if let Some(Place { run_id, turn, index, .. }) = &uses.place {
            uses.refuse(WrongTool {
                run_id: run_id.clone(),
                turn: *turn,
                index: *index,
                execution_id: call.permit.execution_id(),
                allowed,
                entered,
                why,
            });
        }
        Err(error)
    }
}

#[cfg(all(test, feature = "macros"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::tools::{ToolHandle, Toolkit, tool, toolkit, tools};

    static ENTERED: AtomicUsize = AtomicUsize::new(0);

    fn enter() {
        ENTERED.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits.
    #[tool]
    #[allow(clippy::unused_async, reason = "a body of this form is what is tested")]
    async fn waits() {
        enter();
    }

    /// Blocks.
    #[tool]
    fn blocks() {
        enter();
    }

    /// Is inline.
    #[tool(inline)]
    fn inline() {
        enter();
    }

    struct Kit;

    #[toolkit]
    impl Kit {
        /// A method.
        #[tool]
        fn method(&self) {
            enter();
        }
    }

    struct Generic<T>(T);

    #[toolkit]
    impl<T: Send + Sync + 'static> Generic<T> {
        /// A method of a generic toolkit.
        #[tool]
        async fn generic(&self) {
            let _ = &self.0;
            enter();
        }

        /// One without the value.
        #[tool(inline)]
        fn associated() {
            enter();
        }
    }

    #[tokio::test]
    async fn a_body_of_each_form_is_entered_with_its_own_permit_and_with_no_other() {
        let mut forms = tools![waits, blocks, inline];
        forms.extend(Arc::new(Kit).tools());
        forms.extend(Arc::new(Generic(1_u8)).tools());
        forms.push(tools![waits].remove(0).renamed("adapted"));
        assert_eq!(forms.len(), 7);
        let call = |tool: &ToolHandle| ToolCall::for_test(Arguments::new(), tool.descriptor());
        for form in &forms {
            for other in &forms {
                let (name, is_own) = (&form.descriptor().name, form.descriptor().name == other.descriptor().name);
                let before = ENTERED.load(Ordering::Relaxed);
                let ended = form.tool().call(call(other)).await;
                assert_eq!(ENTERED.load(Ordering::Relaxed) - before, usize::from(is_own), "{name}");
                assert_eq!(ended.err().map(|error| error.code()), (!is_own).then_some(Some("wrong_tool")), "{name}");
            }
        }
    }

    #[test]
    fn every_part_of_a_tool_is_in_its_identity() {
        let own = || ToolDescriptor::new("pay", "Pay.", json!({ "type": "object" }));
        let required = || crate::tools::ToolPolicy::new(None, Some(ApprovalPolicy::Required));
        let rules = crate::tools::ApprovalRules::new;
        let mut adapted = own();
        adapted.origin = Some("refund".to_owned());
        let mut all = vec![
            own(),
            ToolDescriptor::new("pays", "Pay.", json!({ "type": "object" })),
            ToolDescriptor::new("pay", "Pay.", json!({ "type": "object", "properties": {} })),
            own().version("2"),
            own().policy(required()),
            own().policy(required().rules(rules().quorum(2))),
            own().policy(required().rules(rules().valid_for(std::time::Duration::from_secs(1)))),
            own().policy(required().effect(crate::tools::Effect::Idempotent)),
            adapted,
        ];
        let count = all.len();
        let mut identities: Vec<String> = all.drain(..).map(|descriptor| descriptor.identity()).collect();
        identities.sort_unstable();
        identities.dedup();
        assert_eq!(identities.len(), count);
        // Neither the description nor how it is called belongs to it.
        assert_eq!(own().identity(), ToolDescriptor::new("pay", "Pays.", json!({ "type": "object" })).identity());
    }
}
