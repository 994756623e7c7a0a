"""Code that somebody plants in a schema where everybody may create, as up to Postgres 14."""

import psycopg

# Each is a better match than Postgres' own for the types that our statements could compare.
_PLANTED = """
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS
'BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        ALTER ROLE planter SUPERUSER;
    END IF;
    RETURN true;
END';
CREATE FUNCTION public.is(oid, regnamespace) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
CREATE OPERATOR public.= (FUNCTION = public.is, LEFTARG = oid, RIGHTARG = regnamespace);
CREATE FUNCTION public.is(oid, regrole) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
CREATE OPERATOR public.<> (FUNCTION = public.is, LEFTARG = oid, RIGHTARG = regrole);
CREATE FUNCTION public.char_length(varchar) RETURNS integer LANGUAGE sql AS
'SELECT public.trap()::integer';
"""


def plant(superuser_url: str) -> None:
    """Open the schema public to everybody, and have the role `planter` plant code there."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("DROP ROLE IF EXISTS planter")
        superuser.execute("CREATE ROLE planter")
        superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        superuser.execute("SET ROLE planter")
        superuser.execute(_PLANTED, prepare=False)


def uproot(superuser_url: str) -> bool:
    """Remove the planter with the code, and return whether it became a superuser by it."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        found = superuser.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'planter'")
        ((became_superuser,),) = found.fetchall()
        superuser.execute("DROP OWNED BY planter CASCADE")
        superuser.execute("DROP ROLE planter")
        return bool(became_superuser)
