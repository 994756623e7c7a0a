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
        WHERE (above.rolsuper OR above.rolbypassrls)
          AND pg_catalog.pg_has_role('task_api', above.oid, 'MEMBER')
    ) THEN
        RAISE EXCEPTION 'The role task_api may bypass row-level security; take that right from it';
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO task_api;

-- So that this role, too, can switch to it in each transaction. From Postgres 16 on the creator
-- of a role may administer it, and nothing else before such a grant.
GRANT task_api TO CURRENT_USER;

-- The API's role needs no temporary tables and no large objects. Only an owner of the database can
-- take the first right from everybody, only a superuser the second: elsewhere it stays, with a
-- warning (Neon lets nobody do the second).
DO $$
DECLARE
    maker regprocedure;
BEGIN
    IF pg_catalog.has_database_privilege('task_api', current_database(), 'TEMPORARY') THEN
        EXECUTE pg_catalog.format(
            'REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, task_api', current_database()
        );
    END IF;
    FOR maker IN
        SELECT oid FROM pg_catalog.pg_proc
        WHERE pronamespace = 'pg_catalog'::pg_catalog.regnamespace::oid
          AND (proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite'))
          AND pg_catalog.has_function_privilege('task_api', oid, 'EXECUTE')
    LOOP
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', maker);
    END LOOP;
END
$$;
