"""PUT /api/{user_id}/tasks/{task_id} by a bare handler."""

from bare import Event, answering, body, invalid, one, run, task_id, text, title


def update_task(event: Event, user_id: str) -> tuple[int, object]:
    """Change what is present and not null."""
    id_, said = task_id(event), body(event)
    new_title, description = said.get("title"), said.get("description")
    completed = said.get("completed")
    if completed not in (None, True, False):
        raise invalid("body", "completed")
    rows = run(
        user_id,
        """
        UPDATE tasks
        SET title = coalesce(%s, title),
            description = coalesce(%s, description),
            completed = coalesce(%s, completed),
            updated_at = clock_timestamp()
        WHERE user_id = %s AND id = %s
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        [
            None if new_title is None else title(new_title),
            None if description is None else text(description, "description", 5000),
            None if completed is None else bool(completed),
            user_id,
            id_,
        ],
    )
    return 200, one(rows)


handler = answering(update_task)
