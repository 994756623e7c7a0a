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
          AND relname IN ('tasks', 'idempotency_keys')
          AND pg_catalog.pg_has_role(session_user, relowner, 'MEMBER')
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'The API is connected as a role that row-level security does not bind';
    END IF;
END
$$;
