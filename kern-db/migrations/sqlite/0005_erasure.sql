-- Salts of sensitive arguments, and their erasure once a run has ended. {name} stands for the table's name in this database.
-- A row from before has null in the new columns: its digests are over the arguments themselves, and stay so.

-- JSON: the salt of each sensitive property, by name. Null in there: it was erased.
ALTER TABLE {calls} ADD COLUMN salts TEXT;
ALTER TABLE {calls} ADD COLUMN erased_at_ms INTEGER;
ALTER TABLE {approvals} ADD COLUMN erased_at_ms INTEGER;
ALTER TABLE {executions} ADD COLUMN erased_at_ms INTEGER;
-- Of the snapshot's digest.
ALTER TABLE {runs} ADD COLUMN snapshot_salt TEXT;
ALTER TABLE {runs} ADD COLUMN erased_at_ms INTEGER;

-- Runs. One that has ended changes once more at most: its snapshot, when the secrets are taken out of it.
DROP TRIGGER {runs}_ended;
CREATE TRIGGER {runs}_ended BEFORE UPDATE ON {runs}
WHEN OLD.status IN ('COMPLETED', 'ERROR', 'CANCELLED') AND NOT (
  OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL AND NEW.snapshot_salt IS NULL
  AND NEW.status IS OLD.status AND NEW.owner IS OLD.owner AND NEW.fence IS OLD.fence
  AND NEW.lease_until_ms IS OLD.lease_until_ms AND NEW.turn IS OLD.turn AND NEW.recoveries IS OLD.recoveries
  AND NEW.attention IS OLD.attention AND NEW.agent_name IS OLD.agent_name AND NEW.updated_at_ms IS OLD.updated_at_ms)
BEGIN SELECT RAISE(ABORT, 'kern: a run that has ended does not change'); END;
CREATE TRIGGER {runs}_erased BEFORE UPDATE ON {runs}
WHEN (NEW.erased_at_ms IS NOT OLD.erased_at_ms OR (OLD.snapshot_salt IS NOT NULL AND NEW.snapshot_salt IS NOT OLD.snapshot_salt))
  AND OLD.status NOT IN ('COMPLETED', 'ERROR', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'kern: only what has ended is erased'); END;

-- Calls. The secrets of a call are replaced by their commitments, its salts by nothing, and the rest stays as it is.
DROP TRIGGER {calls}_bound;
CREATE TRIGGER {calls}_bound BEFORE UPDATE ON {calls}
WHEN NEW.generation IS OLD.generation
  AND ((NEW.arguments IS NOT OLD.arguments AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
      OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
      OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
      OR NEW.unfilled IS NOT OLD.unfilled)
  AND EXISTS (SELECT 1 FROM {executions} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
              AND generation = OLD.generation)
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
CREATE TRIGGER {calls}_salts BEFORE UPDATE ON {calls}
WHEN NEW.salts IS NOT OLD.salts AND NEW.generation IS OLD.generation AND NEW.erased_at_ms IS OLD.erased_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: what a call is does not change'); END;
CREATE TRIGGER {calls}_erased BEFORE UPDATE ON {calls}
WHEN OLD.erased_at_ms IS NOT NULL OR (NEW.erased_at_ms IS NOT NULL AND (
  NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
              AND erased_at_ms IS NOT NULL)
  OR NEW.generation IS NOT OLD.generation OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
  OR NEW.policy_digest IS NOT OLD.policy_digest OR NEW.earlier_digests IS NOT OLD.earlier_digests
  OR NEW.unfilled IS NOT OLD.unfilled OR NEW.approval_id IS NOT OLD.approval_id OR NEW.answer IS NOT OLD.answer
  OR NEW.answer_digest IS NOT OLD.answer_digest OR NEW.answer_note IS NOT OLD.answer_note
  OR NEW.answered_by IS NOT OLD.answered_by OR NEW.answered_at_ms IS NOT OLD.answered_at_ms
  OR NEW.created_at_ms IS NOT OLD.created_at_ms OR OLD.salts IS NULL OR NEW.salts IS NULL
  OR (SELECT count(*) FROM json_each(NEW.salts)) <> (SELECT count(*) FROM json_each(OLD.salts))
  OR EXISTS (SELECT 1 FROM json_each(NEW.salts)
             WHERE value IS NOT NULL OR key NOT IN (SELECT key FROM json_each(OLD.salts)))
  OR (SELECT count(*) FROM json_each(NEW.arguments)) <> (SELECT count(*) FROM json_each(OLD.arguments))
  OR EXISTS (SELECT 1 FROM json_each(NEW.arguments) AS after
             WHERE NOT EXISTS (SELECT 1 FROM json_each(OLD.arguments) AS before
               WHERE before.key = after.key AND (before.type = after.type AND before.value IS after.value
                 OR before.key IN (SELECT key FROM json_each(OLD.salts)))))))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;

-- Approvals.
DROP TRIGGER {approvals}_decided;
CREATE TRIGGER {approvals}_decided BEFORE UPDATE ON {approvals}
WHEN OLD.status <> 'pending' AND (NEW.status IS NOT OLD.status
  OR (NEW.tool_args IS NOT OLD.tool_args AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
  OR NEW.resolution_data IS NOT OLD.resolution_data OR NEW.resolved_by IS NOT OLD.resolved_by
  OR NEW.resolved_at IS NOT OLD.resolved_at OR NEW.version IS NOT OLD.version OR NEW.digest IS NOT OLD.digest
  OR NEW.decided_digest IS NOT OLD.decided_digest OR NEW.policy_digest IS NOT OLD.policy_digest
  OR NEW.resolver IS NOT OLD.resolver)
BEGIN SELECT RAISE(ABORT, 'kern: a decision does not change'); END;
DROP TRIGGER {approvals}_hidden;
CREATE TRIGGER {approvals}_hidden BEFORE UPDATE ON {approvals}
WHEN OLD.deleted_at IS NOT NULL AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'kern: a hidden approval does not change'); END;
CREATE TRIGGER {approvals}_erased BEFORE UPDATE ON {approvals}
WHEN NEW.erased_at_ms IS NOT OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL OR OLD.status = 'pending'
  OR NEW.deleted_at IS NOT OLD.deleted_at OR NEW.edited_by IS NOT OLD.edited_by
  OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                 AND erased_at_ms IS NOT NULL)
  OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                 AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.tool_args)))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;

-- Executions.
DROP TRIGGER {executions}_identity;
CREATE TRIGGER {executions}_identity BEFORE UPDATE ON {executions}
WHEN NEW.id IS NOT OLD.id OR NEW.run_id IS NOT OLD.run_id OR NEW.turn IS NOT OLD.turn OR NEW.idx IS NOT OLD.idx
  OR NEW.generation IS NOT OLD.generation OR NEW.approval_id IS NOT OLD.approval_id
  OR NEW.authority IS NOT OLD.authority OR NEW.tool_name IS NOT OLD.tool_name
  OR (NEW.arguments IS NOT OLD.arguments AND (OLD.erased_at_ms IS NOT NULL OR NEW.erased_at_ms IS NULL))
  OR NEW.decided_digest IS NOT OLD.decided_digest
  OR NEW.valid_until_ms IS NOT OLD.valid_until_ms OR NEW.created_at_ms IS NOT OLD.created_at_ms
  OR NEW.fence < OLD.fence OR NEW.attempt < OLD.attempt
BEGIN SELECT RAISE(ABORT, 'kern: what may run does not change'); END;
DROP TRIGGER {executions}_ended;
CREATE TRIGGER {executions}_ended BEFORE UPDATE ON {executions}
WHEN OLD.status IN ('succeeded', 'failed', 'abandoned')
  AND NOT (OLD.erased_at_ms IS NULL AND NEW.erased_at_ms IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'kern: an outcome does not change'); END;
CREATE TRIGGER {executions}_erased BEFORE UPDATE ON {executions}
WHEN NEW.erased_at_ms IS NOT OLD.erased_at_ms AND (OLD.erased_at_ms IS NOT NULL
  OR NEW.status IS NOT OLD.status OR NEW.attempt IS NOT OLD.attempt OR NEW.fence IS NOT OLD.fence
  OR NEW.owner IS NOT OLD.owner OR NEW.lease_until_ms IS NOT OLD.lease_until_ms OR NEW.result IS NOT OLD.result
  OR NEW.error IS NOT OLD.error OR NEW.settled_by IS NOT OLD.settled_by OR NEW.note IS NOT OLD.note
  OR NEW.started_at_ms IS NOT OLD.started_at_ms OR NEW.finished_at_ms IS NOT OLD.finished_at_ms
  OR NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = OLD.run_id AND status IN ('COMPLETED', 'ERROR', 'CANCELLED')
                 AND erased_at_ms IS NOT NULL)
  OR NOT EXISTS (SELECT 1 FROM {calls} WHERE run_id = OLD.run_id AND turn = OLD.turn AND idx = OLD.idx
                 AND erased_at_ms IS NOT NULL AND (generation <> OLD.generation OR arguments = NEW.arguments)))
BEGIN SELECT RAISE(ABORT, 'kern: an erasure takes out the secrets, and nothing else'); END;
