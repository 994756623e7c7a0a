"""DELETE /api/{user_id}/tasks/{task_id} by Powertools."""

from api import TaskId, TaskNotFound, UserId, acting_as, app, handler

__all__ = ["handler"]


@app.delete("/api/<user_id>/tasks/<task_id>")
def delete_task(user_id: UserId, task_id: TaskId) -> dict[str, str]:
    """Remove the task."""
    with acting_as(user_id) as connection:
        gone = connection.execute(
            "DELETE FROM tasks WHERE user_id = %s AND id = %s", [user_id, task_id]
        ).rowcount
    if not gone:
        raise TaskNotFound
    return {"message": "Task deleted successfully"}
