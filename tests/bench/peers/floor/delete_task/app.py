"""DELETE /api/{user_id}/tasks/{task_id} by a bare handler."""

from bare import Event, answering, one, run, task_id


def delete_task(event: Event, user_id: str) -> tuple[int, object]:
    """Remove the task."""
    rows = run(
        user_id,
        """
        DELETE FROM tasks
        WHERE user_id = %s AND id = %s
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        [user_id, task_id(event)],
    )
    one(rows)
    return 200, {"message": "Task deleted successfully"}


handler = answering(delete_task)
