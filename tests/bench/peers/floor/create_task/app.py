"""POST /api/{user_id}/tasks by a bare handler."""

from bare import Event, answering, body, one, run, text, title, uuid7


def create_task(event: Event, user_id: str) -> tuple[int, object]:
    """A new, pending task."""
    said = body(event)
    description = said.get("description")
    if description is not None:
        description = text(description, "description", 5000)
    rows = run(
        user_id,
        """
        INSERT INTO tasks (user_id, id, title, description)
        VALUES (%s, %s, %s, %s)
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        [user_id, uuid7(), title(said.get("title")), description],
    )
    return 201, one(rows)


handler = answering(create_task)
