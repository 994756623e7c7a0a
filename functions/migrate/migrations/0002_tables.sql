-- The primary key serves everything that the API asks by default: whose task it is, the task
-- itself, and the order of creation, because ids are UUIDs of version 7.
CREATE TABLE public.tasks (
    user_id     text        NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 255),
    id          uuid        NOT NULL,
    title       text        NOT NULL CHECK (char_length(title) BETWEEN 1 AND 500),
    description text        CHECK (char_length(description) <= 5000),
    completed   boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

-- The pending tasks of somebody who has completed almost all of theirs, and the other way round:
-- without it such a page reads every task before the ones that it shows (docs/paging.md has the
-- figures). An update that leaves `completed` alone does not touch this index.
CREATE INDEX tasks_by_status ON public.tasks (user_id, completed, id);

-- The outcome of a write that carried an Idempotency-Key, kept in the transaction that did it.
-- `scope` is the operation and its target. `tasks` are those whose text the outcome holds; when one
-- of them is deleted, the outcome becomes null, or of an array every element but the tasks left.
CREATE TABLE public.idempotency_keys (
    user_id     text        NOT NULL,
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    fingerprint bytea       NOT NULL,
    outcome     json,
    tasks       uuid[]      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, scope, key)
);

CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys (created_at);

-- The planner's statistics hold values of a column as they were at the last ANALYZE, and so texts
-- of tasks that were deleted since. No query needs them for texts.
ALTER TABLE public.tasks
    ALTER COLUMN title SET STATISTICS 0, ALTER COLUMN description SET STATISTICS 0;
ALTER TABLE public.idempotency_keys ALTER COLUMN outcome SET STATISTICS 0;

-- Without a user, or with an empty one, the comparison is NULL: nothing is visible or written.
ALTER TABLE public.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tasks ON public.tasks TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- Not forced: the owner purges the keys of all users.
ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_keys ON public.idempotency_keys TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));

-- No text outlives its task, however the task is deleted. The outcomes are locked in one order, or
-- two deletions that share some of them would wait for each other.
CREATE FUNCTION public.empty_outcomes() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.idempotency_keys AS known
    SET outcome = CASE WHEN json_typeof(known.outcome) = 'array' THEN (
        SELECT json_agg(
            CASE WHEN element ->> 'id' <> ALL (held.ids) THEN element END ORDER BY place
        )
        FROM json_array_elements(known.outcome) WITH ORDINALITY AS elements (element, place)
    ) END
    FROM (
        SELECT holding.user_id, holding.scope, holding.key, gone.ids::text[] AS ids
        FROM (SELECT user_id, array_agg(id) AS ids FROM deleted GROUP BY user_id) AS gone
        JOIN public.idempotency_keys AS holding
          ON holding.user_id = gone.user_id AND holding.tasks && gone.ids
        WHERE holding.outcome IS NOT NULL
        ORDER BY holding.user_id, holding.scope, holding.key
        FOR UPDATE OF holding
    ) AS held
    WHERE known.user_id = held.user_id AND known.scope = held.scope AND known.key = held.key;
    RETURN NULL;
END
$$;

CREATE TRIGGER empty_outcomes AFTER DELETE ON public.tasks
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION public.empty_outcomes();

-- Deletes at most so many expired keys and returns their number: call it until it returns 0.
CREATE FUNCTION public.purge_expired_keys(at_most integer DEFAULT 10000) RETURNS integer
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH purged AS (
        DELETE FROM public.idempotency_keys
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM public.idempotency_keys
            WHERE created_at <= now() - interval '24 hours'
            ORDER BY created_at
            LIMIT at_most
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING 1
    )
    SELECT count(*)::integer FROM purged;
$$;

-- What a connection of the API asks first of all. It looks at the login (session_user), because
-- whatever role a transaction takes, RESET ROLE leads back to it. The login may become `task_api`
-- and nothing else, and neither of the two has a right that row-level security does not limit.
CREATE FUNCTION public.refuse_privileged_login() RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_roles
        WHERE pg_has_role(session_user, oid, 'MEMBER') AND (
            rolname NOT IN (session_user, 'task_api')
            OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
        )
    ) OR EXISTS (
        SELECT FROM pg_class, unnest(ARRAY[session_user, 'task_api'::name]) AS acting
        WHERE pg_class.oid IN (
            'public.tasks'::regclass::oid, 'public.idempotency_keys'::regclass::oid
        ) AND has_table_privilege(acting, pg_class.oid, 'TRUNCATE, REFERENCES, TRIGGER')
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'The API is connected as a role that may do more than task_api should';
    END IF;
END
$$;

-- Nobody but the owner has a right on these, whatever the owner's default privileges give away ...
DO $$
DECLARE
    undo text;
BEGIN
    FOR undo IN
        SELECT pg_catalog.format(
            'REVOKE ALL ON %s FROM %s CASCADE',
            ours.name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        )
        FROM (
            SELECT pg_catalog.format('TABLE %s', oid::regclass), relacl, relowner
            FROM pg_catalog.pg_class
            WHERE oid IN (
                'public.tasks'::regclass::oid, 'public.idempotency_keys'::regclass::oid
            )
            UNION ALL
            SELECT pg_catalog.format('FUNCTION %s', oid::regprocedure),
                   coalesce(proacl, acldefault('f', proowner)), proowner
            FROM pg_catalog.pg_proc
            WHERE oid IN (
                'public.empty_outcomes()'::regprocedure::oid,
                'public.purge_expired_keys(integer)'::regprocedure::oid,
                'public.refuse_privileged_login()'::regprocedure::oid
            )
        ) AS ours (name, acl, owner), aclexplode(ours.acl)
        WHERE grantee <> ours.owner
    LOOP
        EXECUTE undo;
    END LOOP;
END
$$;

-- ... but for these.
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tasks TO task_api;
GRANT SELECT, INSERT, UPDATE ON public.idempotency_keys TO task_api;
GRANT EXECUTE ON FUNCTION public.refuse_privileged_login() TO PUBLIC;
