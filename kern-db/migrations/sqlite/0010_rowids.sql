-- Long rows are found by a small index. {name} stands for the table's name in this database.
--
-- In a table without rowids the rows are the entries of an index. Of one that is longer than a quarter of a page the rest is
-- elsewhere, and whoever looks for a row reads the whole of every row that it is compared with, snapshots and all: what a look
-- costs grows with the rows, and with how long they are. Nothing else of these tables changes, so that this is said once and
-- done to what is there, with all indexes and triggers (see `migrate.rs`):
--! rowids {runs} {calls} {approvals} {executions}

-- An index held what names the row, too, and now it holds the row id: what lists are ordered by stands in it.
DROP INDEX idx_{runs}_session_id;
CREATE INDEX idx_{runs}_session_id ON {runs} (session_id, run_id);
DROP INDEX idx_{executions}_status;
CREATE INDEX idx_{executions}_status ON {executions} (status, created_at_ms, id);

-- The row id is a key now, and whoever brings one that is there would push the old row out (see 0001). One that nobody brings is
-- -1 here.
CREATE TRIGGER {runs}_rowid_no_replace BEFORE INSERT ON {runs}
WHEN EXISTS (SELECT 1 FROM {runs} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: runs are never replaced'); END;
CREATE TRIGGER {runs}_rowid BEFORE UPDATE ON {runs}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what runs are found by does not change'); END;
CREATE TRIGGER {calls}_rowid_no_replace BEFORE INSERT ON {calls}
WHEN EXISTS (SELECT 1 FROM {calls} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: calls are never replaced'); END;
CREATE TRIGGER {calls}_rowid BEFORE UPDATE ON {calls}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what calls are found by does not change'); END;
CREATE TRIGGER {approvals}_rowid_no_replace BEFORE INSERT ON {approvals}
WHEN EXISTS (SELECT 1 FROM {approvals} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: approvals are never replaced'); END;
CREATE TRIGGER {approvals}_rowid BEFORE UPDATE ON {approvals}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what approvals are found by does not change'); END;
CREATE TRIGGER {executions}_rowid_no_replace BEFORE INSERT ON {executions}
WHEN EXISTS (SELECT 1 FROM {executions} WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'kern: executions are never replaced'); END;
CREATE TRIGGER {executions}_rowid BEFORE UPDATE ON {executions}
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN SELECT RAISE(ABORT, 'kern: what executions are found by does not change'); END;
