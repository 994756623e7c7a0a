"""GET /api/{user_id}/tasks/{task_id} by a bare handler."""

from bare import Event, answering, one, run, task_id


def get_task(event: Event, user_id: str) -> tuple[int, object]:
    """One task."""
    rows = run(
        user_id,
        """
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %s AND id = %s
        """,
        [user_id, task_id(event)],
    )
    return 200, one(rows)


handler = answering(get_task)
