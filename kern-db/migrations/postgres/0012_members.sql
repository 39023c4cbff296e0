-- Members of pools by a credential. {name} stands for the table's name in this database.
-- A vote from before has null in the new column: the store's pool let its voter vote, and no other way was there.

-- Until when a credential says that the voter is in the policy's pool, where that alone let them vote.
ALTER TABLE {votes} ADD COLUMN member_until_ms BIGINT;

CREATE OR REPLACE FUNCTION {votes}_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.member_until_ms <= NEW.created_at_ms THEN
            RAISE EXCEPTION 'kern: a membership that is over lets nobody vote';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'kern: votes do not change';
    END IF;
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'kern: votes are never deleted';
    END IF;
    RETURN NEW;
END $guard$;
DROP TRIGGER {votes}_guard ON {votes};
CREATE TRIGGER {votes}_guard BEFORE INSERT OR UPDATE OR DELETE ON {votes}
FOR EACH ROW EXECUTE FUNCTION {votes}_guard();
ALTER TABLE {votes} ENABLE ALWAYS TRIGGER {votes}_guard;
