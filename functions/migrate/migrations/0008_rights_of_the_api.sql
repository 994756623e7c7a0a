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
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND (proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite'))
          AND pg_catalog.has_function_privilege('task_api', oid, 'EXECUTE')
    LOOP
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', maker);
    END LOOP;
END
$$;

-- What a connection of the API asks first of all. It looks at the login (session_user), because
-- whatever role a transaction takes, RESET ROLE leads back to it.
CREATE FUNCTION refuse_privileged_login() RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_roles
        WHERE (rolsuper OR rolbypassrls) AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
    ) OR EXISTS (
        SELECT FROM pg_catalog.pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND relname IN ('tasks', 'idempotency_keys', 'replaced_texts', 'usage_counts')
          AND pg_catalog.pg_has_role(session_user, relowner, 'MEMBER')
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'The API is connected as a role that row-level security does not bind';
    END IF;
END
$$;
