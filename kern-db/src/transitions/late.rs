//! Results that come too late to be an outcome: kept beside it, for the person who settles the call.

use serde_json::json;

use crate::audit::Entry;
use crate::digest::sha256;
use crate::records::execution::ExecutionRow;
use crate::records::principal::Actor;
use crate::records::run::RunRow;
use crate::tx::Tx;
use crate::{ExecutionStatus, Result};

use ExecutionRow as E;

/// Bytes of a late result that are kept, the mark of a cut included.
const KEPT: usize = 64 * 1024;

/// Keeps what a start, or another system, reported too late, if it is the first report, and puts on record that it came. The
/// log cannot be erased, so that it has the digests alone.
pub(super) async fn keep<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    execution: &ExecutionRow,
    said: ExecutionStatus,
    text: &str,
    fence: i64,
    actor: Actor,
) -> Result<()> {
    let kept = cut(text);
    // Two late results of one execution: the first statement that finds none wins.
    // What was erased is not written down again.
    let first = run.erased_at_ms.is_none()
        && tx
            .update(
                vec![E::C.late_status.to(Some(said)), E::C.late_result.to(Some(kept.clone()))],
                vec![E::C.id.is(execution.id.clone()), E::C.late_status.is(None), E::C.erased_at_ms.is(None)],
            )
            .await?
            == 1;
    if !first && execution.late_status == Some(said) && execution.late_result.as_deref() == Some(kept.as_str()) {
        // The same report again says nothing new.
        return Ok(());
    }
    let mut payload = json!({ "as": said, "fence": fence, "size": text.len(), "digest": sha256(text) });
    if first {
        payload["kept"] = sha256(&kept).into();
    }
    tx.journal().record(entry(execution, actor).payload(payload));
    Ok(())
}

/// The evidence entry of a report that came too late.
pub(super) fn entry(execution: &ExecutionRow, actor: Actor) -> Entry {
    Entry::new("late_result", actor, &execution.run_id)
        .at(execution.turn, execution.idx)
        .execution(&execution.id)
        .digest(&execution.decided_digest)
        .evidence()
}

/// A text as it is kept: at most [`KEPT`] bytes, and marked where it was cut.
fn cut(text: &str) -> String {
    if text.len() <= KEPT {
        return text.to_owned();
    }
    let mark = format!("… [cut: it had {} bytes]", text.len());
    let mut end = KEPT - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(cut(&"a".repeat(KEPT)).len(), KEPT);
        for text in ["a".repeat(KEPT + 1), "ü".repeat(KEPT), "𝄞".repeat(KEPT)] {
            let kept = cut(&text);
            assert!(kept.len() <= KEPT && kept.len() > KEPT - 4, "{}", kept.len());
            assert!(kept.ends_with(&format!("… [cut: it had {} bytes]", text.len())));
        }
    }
}
