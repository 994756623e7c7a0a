"""GET /api/{user_id}/tasks/{task_id} by Powertools."""

from api import Task, TaskId, UserId, acting_as, app, found, handler

__all__ = ["handler"]


@app.get("/api/<user_id>/tasks/<task_id>")
def get_task(user_id: UserId, task_id: TaskId) -> Task:
    """One task."""
    with acting_as(user_id) as connection:
        row = connection.execute(
            """
            SELECT id, user_id, title, description, completed, created_at, updated_at
            FROM tasks
            WHERE user_id = %s AND id = %s
            """,
            [user_id, task_id],
        ).fetchone()
    return found(row)
