-- The first outcome of a write that carried an Idempotency-Key, kept in the transaction that did
-- it. `scope` is the operation and its target; `outcome` is the task's row, or why there is none.
CREATE TABLE idempotency_keys (
    user_id     text        NOT NULL,
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    fingerprint bytea       NOT NULL,
    outcome     jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, scope, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO task_api;

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_keys ON idempotency_keys TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- Every recorded write takes a few expired records of anybody with it, so that no scheduler is
-- needed. The function runs as its owner, who is not bound by the policy, and can do nothing else.
CREATE FUNCTION forget_expired_keys() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM idempotency_keys
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys
        WHERE created_at <= now() - interval '24 hours'
        ORDER BY created_at
        LIMIT 20
        FOR UPDATE SKIP LOCKED
    ));
$$;

REVOKE ALL ON FUNCTION forget_expired_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_expired_keys() TO task_api;
