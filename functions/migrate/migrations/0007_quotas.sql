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

-- Whether the acting user has fewer tasks, or live idempotency keys, than `quota`.
--
-- To count thousands of rows for each write would take longer than the write, and a counter that
-- every write moves would make one user's writes wait for each other. So a write looks at the last
-- count only, and the nearer that is to the quota, the likelier the write counts again: with the
-- probability 32 / (quota - last count). From any last count, the chance to reach the quota without
-- a new one is (1 - 32 / room) ^ room, below e ^ -32. Within 32 of the quota every write counts, and
-- then only writes that are under way at the same moment are missed.
CREATE FUNCTION has_room(wanted text, quota integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    acting text := current_setting('app.user_id');
    last integer := coalesce(
        (SELECT counted FROM usage_counts WHERE user_id = acting AND what = wanted), 0
    );
    found integer;
BEGIN
    IF random() * (quota - last) >= 32 THEN
        RETURN true;
    END IF;
    IF wanted = 'tasks' THEN
        SELECT count(*) INTO found
        FROM (SELECT FROM tasks WHERE user_id = acting LIMIT quota) AS those;
    ELSE
        SELECT count(*) INTO found
        FROM (
            SELECT FROM idempotency_keys
            WHERE user_id = acting AND created_at > now() - interval '24 hours'
            LIMIT quota
        ) AS those;
    END IF;
    IF found <> last THEN
        INSERT INTO usage_counts (user_id, what, counted) VALUES (acting, wanted, found)
        ON CONFLICT (user_id, what) DO UPDATE SET counted = excluded.counted;
    END IF;
    RETURN found < quota;
END
$$;
