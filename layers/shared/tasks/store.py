"""The operations on tasks: each one statement, one round trip, and scoped to its user.

Every unit of work also carries the acting user for row-level security, which would hide and
refuse the rows of others if a statement forgot to name its user.
"""

from uuid import UUID

from neon import Effect, Row, Statement
from tasks.database import database
from tasks.ids import now, task_id
from tasks.models import Task, TaskCreate, TaskUpdate


class TaskNotFound(Exception):
    """There is no such task, or it is somebody else's; nobody may learn which."""


def list_all(user_id: str) -> list[Task]:
    """All tasks of the user, oldest first."""
    statement = Statement(
        """
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %s
        ORDER BY id
        """,
        (user_id,),
    )
    return [Task.model_validate(row) for row in _run(user_id, statement, Effect.READ)]


def create(user_id: str, new: TaskCreate) -> Task:
    """Store a new task. Its id is made before it is sent, so sending it twice stores one."""
    created_at = now()
    task = Task(
        id=task_id(created_at),
        user_id=user_id,
        title=new.title,
        description=new.description,
        completed=False,
        created_at=created_at,
        updated_at=created_at,
    )
    statement = Statement(
        """
        INSERT INTO tasks (id, user_id, title, description, completed, created_at, updated_at)
        VALUES (%(id)s, %(user_id)s, %(title)s, %(description)s, %(completed)s,
                %(created_at)s, %(updated_at)s)
        ON CONFLICT (user_id, id) DO NOTHING
        """,
        task.model_dump(),
    )
    _run(user_id, statement, Effect.REPEATABLE)
    return task


def get(user_id: str, id_: UUID) -> Task:
    """The user's task. Raises TaskNotFound."""
    statement = Statement(
        """
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %s AND id = %s
        """,
        (user_id, id_),
    )
    return _one(_run(user_id, statement, Effect.READ))


def update(user_id: str, id_: UUID, change: TaskUpdate) -> Task:
    """Change what `change` names; the task afterwards. Raises TaskNotFound."""
    statement = Statement(
        """
        UPDATE tasks
        SET title = coalesce(%(title)s, title),
            description = coalesce(%(description)s, description),
            completed = coalesce(%(completed)s, completed),
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        WHERE user_id = %(user_id)s AND id = %(id)s
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        {"user_id": user_id, "id": id_, **change.model_dump()},
    )
    return _one(_run(user_id, statement, Effect.ONCE))


def toggle(user_id: str, id_: UUID) -> Task:
    """Flip `completed`; the task afterwards. Raises TaskNotFound."""
    statement = Statement(
        """
        UPDATE tasks
        SET completed = NOT completed,
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        WHERE user_id = %s AND id = %s
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        (user_id, id_),
    )
    return _one(_run(user_id, statement, Effect.ONCE))


def delete(user_id: str, id_: UUID) -> None:
    """Remove the task. Raises TaskNotFound, the second time too."""
    statement = Statement(
        "DELETE FROM tasks WHERE user_id = %s AND id = %s RETURNING id", (user_id, id_)
    )
    if not _run(user_id, statement, Effect.ONCE):
        raise TaskNotFound


def acting_as(user_id: str) -> dict[str, str]:
    """The settings of a transaction for one user, to be applied in this order.

    Whatever role the connection has (its owner's may bypass row-level security), the statements
    run as `task_api`, which may not.
    """
    return {"role": "task_api", "app.user_id": user_id}


def _run(user_id: str, statement: Statement, effect: Effect) -> list[Row]:
    (rows,) = database().run(statement, effect=effect, settings=acting_as(user_id))
    return rows


def _one(rows: list[Row]) -> Task:
    if not rows:
        raise TaskNotFound
    return Task.model_validate(rows[0])
