-- The counts are kept with less work. {name} stands for the table's name in this database.
--
-- For the two values of an `IN` SQLite fills a table of its own each time, and another one with the rows that are to change: a
-- twentieth of a whole decision. One statement for each of the two rows needs neither.
DROP TRIGGER {approvals}_counted;
CREATE TRIGGER {approvals}_counted AFTER INSERT ON {approvals}
WHEN NEW.deleted_at IS NULL
BEGIN
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending'),
    approved = approved + (NEW.status = 'approved'),
    rejected = rejected + (NEW.status = 'rejected'),
    expired = expired + (NEW.status = 'expired'),
    cancelled = cancelled + (NEW.status = 'cancelled')
  WHERE whose = '*';
  INSERT INTO {approvals}_counts (whose) SELECT '=' || NEW.user_id WHERE NEW.user_id IS NOT NULL
  ON CONFLICT (whose) DO NOTHING;
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending'),
    approved = approved + (NEW.status = 'approved'),
    rejected = rejected + (NEW.status = 'rejected'),
    expired = expired + (NEW.status = 'expired'),
    cancelled = cancelled + (NEW.status = 'cancelled')
  WHERE whose = '=' || NEW.user_id;
END;
-- Who asked never changes.
DROP TRIGGER {approvals}_recounted;
CREATE TRIGGER {approvals}_recounted AFTER UPDATE OF status, deleted_at ON {approvals}
WHEN NEW.status IS NOT OLD.status OR NEW.deleted_at IS NOT OLD.deleted_at
BEGIN
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'pending' AND OLD.deleted_at IS NULL),
    approved = approved + (NEW.status = 'approved' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'approved' AND OLD.deleted_at IS NULL),
    rejected = rejected + (NEW.status = 'rejected' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'rejected' AND OLD.deleted_at IS NULL),
    expired = expired + (NEW.status = 'expired' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'expired' AND OLD.deleted_at IS NULL),
    cancelled = cancelled + (NEW.status = 'cancelled' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'cancelled' AND OLD.deleted_at IS NULL)
  WHERE whose = '*';
  UPDATE {approvals}_counts SET
    pending = pending + (NEW.status = 'pending' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'pending' AND OLD.deleted_at IS NULL),
    approved = approved + (NEW.status = 'approved' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'approved' AND OLD.deleted_at IS NULL),
    rejected = rejected + (NEW.status = 'rejected' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'rejected' AND OLD.deleted_at IS NULL),
    expired = expired + (NEW.status = 'expired' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'expired' AND OLD.deleted_at IS NULL),
    cancelled = cancelled + (NEW.status = 'cancelled' AND NEW.deleted_at IS NULL)
      - (OLD.status = 'cancelled' AND OLD.deleted_at IS NULL)
  WHERE whose = '=' || NEW.user_id;
END;
