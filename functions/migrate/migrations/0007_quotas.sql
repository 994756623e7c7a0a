-- How many tasks and idempotency keys a user had when they were last counted.
CREATE TABLE usage_counts (
    user_id text    NOT NULL,
    what    text    NOT NULL CHECK (what IN ('tasks', 'keys')),
    counted integer NOT NULL,
    PRIMARY KEY (user_id, what)
);

GRANT SELECT, INSERT, UPDATE ON usage_counts TO task_api;

ALTER TABLE usage_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_counts FORCE ROW LEVEL SECURITY;

CREATE POLICY own_counts ON usage_counts TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- Counts the acting user's tasks, or live idempotency keys, and returns whether there are fewer than
-- `quota`. It remembers what it found, unless another write is just doing so: nobody waits.
CREATE FUNCTION has_room(wanted text, quota integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    acting text := current_setting('app.user_id');
    is_mine boolean;
    number integer;
BEGIN
    PERFORM FROM usage_counts WHERE user_id = acting AND what = wanted FOR UPDATE SKIP LOCKED;
    is_mine := FOUND;
    IF wanted = 'tasks' THEN
        SELECT count(*) INTO number
        FROM (SELECT FROM tasks WHERE user_id = acting LIMIT quota) AS those;
    ELSE
        SELECT count(*) INTO number
        FROM (
            SELECT FROM idempotency_keys
            WHERE user_id = acting AND created_at > now() - interval '24 hours'
            LIMIT quota
        ) AS those;
    END IF;
    IF is_mine THEN
        UPDATE usage_counts SET counted = number
        WHERE user_id = acting AND what = wanted AND counted <> number;
    ELSE
        INSERT INTO usage_counts (user_id, what, counted) VALUES (acting, wanted, number)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN number < quota;
END
$$;
