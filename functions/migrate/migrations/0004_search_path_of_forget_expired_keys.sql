-- The function runs as its owner, and a caller's temporary tables are searched before all others
-- unless they are named last: a temporary `idempotency_keys` with a trigger would run as the owner.
DO $$
BEGIN
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION forget_expired_keys() SET search_path = %I, pg_temp', current_schema()
    );
END
$$;
