def test_x(any_postgres, urls):
    from tests.identity.conftest import neon_like, execute

    o, l = neon_like(any_postgres, "one")
    print(execute(l, "SELECT set_config('role','task_api',false)", "SELECT count(*) FROM tasks"))
