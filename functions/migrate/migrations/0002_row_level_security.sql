-- The API acts as `task_api`, which owns nothing, bypasses nothing and sees the rows of one user:
-- the one that the transaction names in `app.user_id`. Roles belong to the whole cluster, so this
-- one may be there already, and another database's migration may make it at this very moment.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'task_api') THEN
        CREATE ROLE task_api NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;

DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_roles AS above
        WHERE (above.rolsuper OR above.rolbypassrls) AND pg_catalog.pg_has_role('task_api', above.oid, 'MEMBER')
    ) THEN
        RAISE EXCEPTION 'The role task_api may bypass row-level security; take that right from it';
    END IF;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO task_api', current_schema());
END
$$;

-- So that this role, too, can switch to it in each transaction. From Postgres 16 on the creator
-- of a role may administer it, and nothing else before such a grant.
GRANT task_api TO CURRENT_USER;

GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO task_api;

ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;

-- Without a user, or with an empty one, the comparison is NULL: nothing is visible or written.
CREATE POLICY own_tasks ON tasks TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));
