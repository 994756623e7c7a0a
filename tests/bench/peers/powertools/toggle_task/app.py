"""PATCH /api/{user_id}/tasks/{task_id}/complete by Powertools."""

from api import Task, TaskId, UserId, acting_as, app, found, handler

__all__ = ["handler"]


@app.patch("/api/<user_id>/tasks/<task_id>/complete")
def toggle_task(user_id: UserId, task_id: TaskId) -> Task:
    """Flip `completed`."""
    with acting_as(user_id) as connection:
        row = connection.execute(
            """
            UPDATE tasks
            SET completed = NOT completed, updated_at = clock_timestamp()
            WHERE user_id = %s AND id = %s
            RETURNING id, user_id, title, description, completed, created_at, updated_at
            """,
            [user_id, task_id],
        ).fetchone()
    return found(row)
