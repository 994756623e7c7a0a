-- The outcome of a write that carried an Idempotency-Key, kept in the transaction that did it.
-- `scope` is the operation and its target. `tasks` are those whose text the outcome holds; when one
-- of them is deleted, the outcome becomes null.
CREATE TABLE idempotency_keys (
    user_id     text        NOT NULL,
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    fingerprint bytea       NOT NULL,
    outcome     json,
    tasks       uuid[]      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, scope, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- As for the texts of tasks.
ALTER TABLE idempotency_keys ALTER COLUMN outcome SET STATISTICS 0;

GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO task_api;

-- Not forced: the owner purges the keys of all users.
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_keys ON idempotency_keys TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- No text outlives its task, however the task is deleted.
CREATE FUNCTION empty_outcomes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE idempotency_keys AS known SET outcome = NULL
    FROM deleted
    WHERE known.user_id = deleted.user_id AND deleted.id = ANY (known.tasks)
      AND known.outcome IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER empty_outcomes AFTER DELETE ON tasks
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION empty_outcomes();

-- Deletes at most so many expired keys and returns their number: call it until it returns 0.
CREATE FUNCTION purge_expired_keys(at_most integer DEFAULT 10000) RETURNS integer
LANGUAGE sql AS $$
    WITH purged AS (
        DELETE FROM idempotency_keys
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE created_at <= now() - interval '24 hours'
            ORDER BY created_at
            LIMIT at_most
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING 1
    )
    SELECT count(*)::integer FROM purged;
$$;

REVOKE ALL ON FUNCTION purge_expired_keys(integer) FROM PUBLIC;

-- A caller's temporary tables are searched before all others unless they are named last.
DO $$
BEGIN
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION purge_expired_keys(integer) SET search_path = %I, pg_temp', current_schema()
    );
END
$$;
