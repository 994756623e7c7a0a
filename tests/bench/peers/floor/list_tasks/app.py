"""GET /api/{user_id}/tasks by a bare handler."""

from bare import Event, answering, run, task


def list_tasks(_: Event, user_id: str) -> tuple[int, object]:
    """The user's tasks, oldest first."""
    rows = run(
        user_id,
        """
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %s
        ORDER BY id
        LIMIT 1000
        """,
        [user_id],
    )
    return 200, [task(row) for row in rows]


handler = answering(list_tasks)
