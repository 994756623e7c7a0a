-- A recorded outcome no longer holds a task's texts, only its id, its version and what is short.
-- Replaying it takes the texts from the task itself, and those that were changed since from
-- `replaced_texts`, where each is what it was until `replaced_at`.
ALTER TABLE tasks ADD COLUMN recorded_at timestamptz;
COMMENT ON COLUMN tasks.recorded_at IS
    'When an outcome was last recorded that relies on the texts of this row; null for never.';

CREATE TABLE replaced_texts (
    user_id     text        NOT NULL,
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    replaced_at timestamptz NOT NULL,
    text        text,
    PRIMARY KEY (user_id, id, name, replaced_at)
);

CREATE INDEX replaced_texts_by_age ON replaced_texts (replaced_at);

GRANT SELECT, INSERT, DELETE ON replaced_texts TO task_api;

ALTER TABLE replaced_texts ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_texts ON replaced_texts TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- An update of a text keeps what it replaces, if an outcome that can still be replayed relies on
-- it and no update has kept it since. So a recorded outcome makes at most one copy of each text,
-- whatever is written without a key.
CREATE FUNCTION keep_replaced_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO replaced_texts (user_id, id, name, replaced_at, text)
    SELECT OLD.user_id, OLD.id, change.name, NEW.updated_at, change.before
    FROM (
        VALUES ('title', OLD.title, NEW.title), ('description', OLD.description, NEW.description)
    ) AS change (name, before, after)
    WHERE change.before IS DISTINCT FROM change.after
      AND NOT EXISTS (
          SELECT FROM replaced_texts AS kept
          WHERE kept.user_id = OLD.user_id AND kept.id = OLD.id AND kept.name = change.name
            AND kept.replaced_at > OLD.recorded_at
      );
    RETURN NULL;
END
$$;

CREATE TRIGGER keep_replaced_texts AFTER UPDATE OF title, description ON tasks FOR EACH ROW
WHEN (OLD.recorded_at > now() - interval '24 hours')
EXECUTE FUNCTION keep_replaced_texts();

-- No text outlives its task, however the task is deleted. Outcomes that were recorded before this
-- migration have the text in them; the index has those alone, and none after a day.
CREATE INDEX idempotency_keys_with_text ON idempotency_keys (user_id) WHERE outcome ? 'title';

CREATE FUNCTION forget_deleted_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM replaced_texts WHERE user_id = OLD.user_id AND id = OLD.id;
    UPDATE idempotency_keys SET outcome = outcome - 'title' - 'description'
    WHERE user_id = OLD.user_id AND outcome ? 'title' AND outcome ->> 'id' = OLD.id::text;
    RETURN NULL;
END
$$;

CREATE TRIGGER forget_deleted_text AFTER DELETE ON tasks FOR EACH ROW
EXECUTE FUNCTION forget_deleted_text();

-- Deletes at most so many expired outcomes, and as many texts that no outcome needs any more,
-- and returns how many it deleted: call it until it returns 0.
CREATE FUNCTION purge_expired_keys(at_most integer DEFAULT 10000) RETURNS integer
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH keys AS (
        DELETE FROM idempotency_keys
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE created_at <= now() - interval '24 hours'
            ORDER BY created_at
            LIMIT at_most
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING 1
    ), texts AS (
        DELETE FROM replaced_texts
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM replaced_texts
            WHERE replaced_at <= now() - interval '24 hours'
            ORDER BY replaced_at
            LIMIT at_most
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING 1
    )
    SELECT ((SELECT count(*) FROM keys) + (SELECT count(*) FROM texts))::integer;
$$;

REVOKE ALL ON FUNCTION purge_expired_keys(integer) FROM PUBLIC;

-- As before, every recorded write takes a few expired records of anybody with it.
CREATE OR REPLACE FUNCTION forget_expired_keys() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT purge_expired_keys(20);
$$;

-- A caller's temporary tables are searched before all others unless they are named last.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['purge_expired_keys(integer)', 'forget_expired_keys()'] LOOP
        EXECUTE pg_catalog.format(
            'ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema()
        );
    END LOOP;
END
$$;
