"""PATCH /api/{user_id}/tasks/{task_id}/complete by a bare handler."""

from bare import Event, answering, one, run, task_id


def toggle_task(event: Event, user_id: str) -> tuple[int, object]:
    """Flip `completed`."""
    rows = run(
        user_id,
        """
        UPDATE tasks
        SET completed = NOT completed, updated_at = clock_timestamp()
        WHERE user_id = %s AND id = %s
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        [user_id, task_id(event)],
    )
    return 200, one(rows)


handler = answering(toggle_task)
