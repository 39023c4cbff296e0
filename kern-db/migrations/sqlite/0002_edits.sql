-- Edits by approvers, quorums, and asking again. {name} stands for the table's name in this database.
-- A row from before has null in the new columns: it is decided as ever, and cannot be edited by an approver.

-- What a call's arguments are checked against: canonical JSON, whose SHA-256 is `schema_hash`.
ALTER TABLE {calls} ADD COLUMN parameters TEXT;
-- JSON: the fields that the tool leaves to people. Empty: all of them.
ALTER TABLE {calls} ADD COLUMN user_fields TEXT;
-- Bytes of canonical arguments.
ALTER TABLE {calls} ADD COLUMN argument_limit INTEGER;
-- JSON: ids of the requirements of earlier generations.
ALTER TABLE {calls} ADD COLUMN earlier_requirements TEXT;
-- Who wrote the current version, where it is not the model's. JSON.
ALTER TABLE {approvals} ADD COLUMN edited_by TEXT;
-- JSON: the arguments that displays leave out.
ALTER TABLE {approvals} ADD COLUMN sensitive TEXT;
-- What the voter sent along. JSON.
ALTER TABLE {votes} ADD COLUMN resolution_data TEXT;

-- Approvals.

CREATE TRIGGER {approvals}_sensitive BEFORE UPDATE ON {approvals}
WHEN NEW.sensitive IS NOT OLD.sensitive
BEGIN SELECT RAISE(ABORT, 'kern: what was asked does not change'); END;
CREATE TRIGGER {approvals}_author BEFORE UPDATE ON {approvals}
WHEN NEW.edited_by IS NOT OLD.edited_by AND (OLD.status <> 'pending' OR NEW.version <= OLD.version)
BEGIN SELECT RAISE(ABORT, 'kern: who wrote a version does not change'); END;

-- Calls. A tool that changed may be asked about again: then the call is another one in the same place, and nothing of the
-- older generation can start any more.

DROP TRIGGER {calls}_identity;
CREATE TRIGGER {calls}_identity BEFORE UPDATE ON {calls}
WHEN NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.tool_call_id IS NOT OLD.tool_call_id OR NEW.tool_name IS NOT OLD.tool_name
  OR (NEW.generation IS OLD.generation AND (NEW.requirement_id IS NOT OLD.requirement_id
    OR NEW.tool_version IS NOT OLD.tool_version OR NEW.schema_hash IS NOT OLD.schema_hash
    OR NEW.parameters IS NOT OLD.parameters OR NEW.user_fields IS NOT OLD.user_fields
    OR NEW.argument_limit IS NOT OLD.argument_limit OR NEW.earlier_requirements IS NOT OLD.earlier_requirements
    OR NEW.shown_digest IS NOT OLD.shown_digest OR NEW.policy IS NOT OLD.policy))
BEGIN SELECT RAISE(ABORT, 'kern: what a call is does not change'); END;
CREATE TRIGGER {calls}_generation BEFORE UPDATE ON {calls}
WHEN NEW.generation IS NOT OLD.generation AND (NEW.generation <> OLD.generation + 1
  OR NEW.answer IS NOT NULL OR OLD.answer = 'rejected'
  OR EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND (status <> 'abandoned' OR attempt <> 0))
  OR EXISTS (SELECT 1 FROM {approvals} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
             AND generation = OLD.generation AND approval_type = 'required' AND status NOT IN ('approved', 'cancelled')))
BEGIN SELECT RAISE(ABORT, 'kern: only what has not started is asked again'); END;
DROP TRIGGER {calls}_bound;
CREATE TRIGGER {calls}_bound BEFORE UPDATE ON {calls}
WHEN NEW.generation IS OLD.generation
  AND (NEW.arguments IS NOT OLD.arguments OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
      OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
      OR NEW.unfilled IS NOT OLD.unfilled)
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
              AND generation = OLD.generation)
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {calls}_asked_again BEFORE UPDATE ON {calls}
WHEN NEW.generation IS NOT OLD.generation AND NEW.arguments IS NOT OLD.arguments
BEGIN SELECT RAISE(ABORT, 'kern: what is asked again is the same call'); END;
