-- Members of pools by a credential. {name} stands for the table's name in this database.
-- A vote from before has null in the new column: the store's pool let its voter vote, and no other way was there.

-- Until when a credential says that the voter is in the policy's pool, where that alone let them vote.
ALTER TABLE {votes} ADD COLUMN member_until_ms INTEGER;
CREATE TRIGGER {votes}_member BEFORE INSERT ON {votes}
WHEN NEW.member_until_ms <= NEW.created_at_ms
BEGIN SELECT RAISE(ABORT, 'kern: a membership that is over lets nobody vote'); END;
