"""The task API by FastAPI and SQLModel on psycopg2: all routes in one function.

The routes are `async` although their driver blocks: an environment has one request at a time, so
there is nobody to keep waiting, and the threads that FastAPI would give them only cost time (0.6 ms
a request).
"""

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from database import Db
from fastapi import HTTPException, Query, Response
from identity import User
from models import Deleted, Task, TaskCreate, TaskRead, TaskUpdate
from served import app, handler_of
from sqlmodel import col, delete, func, not_, select, update

TASKS = "/api/{user_id}/tasks"
TASK = TASKS + "/{task_id}"
Limit = Annotated[int, Query(ge=1, le=1000)]


@app.get(TASKS, response_model=list[TaskRead])
async def list_tasks(user_id: User, db: Db, limit: Limit = 1000):
    """The user's tasks, oldest first."""
    mine = select(Task).where(Task.user_id == user_id).order_by(col(Task.id)).limit(limit)
    return db.exec(mine).all()


@app.post(TASKS, response_model=TaskRead, status_code=201)
async def create_task(user_id: User, db: Db, new: TaskCreate, response: Response):
    """A new, pending task."""
    task = Task(user_id=user_id, title=new.title, description=new.description)
    task.updated_at = task.created_at
    db.add(task)
    db.commit()
    response.headers["Location"] = f"/api/{quote(user_id, safe='')}/tasks/{task.id}"
    return task


@app.get(TASK, response_model=TaskRead)
async def get_task(user_id: User, db: Db, task_id: UUID):
    """One task."""
    return found(db.get(Task, (user_id, task_id)))


@app.put(TASK, response_model=TaskRead)
async def update_task(user_id: User, db: Db, task_id: UUID, change: TaskUpdate):
    """Change what is present and not null."""
    return changed(user_id, db, task_id, change.model_dump(exclude_none=True))


@app.patch(TASK + "/complete", response_model=TaskRead)
async def toggle_task(user_id: User, db: Db, task_id: UUID):
    """Flip `completed`."""
    return changed(user_id, db, task_id, {"completed": not_(col(Task.completed))})


@app.delete(TASK, response_model=Deleted)
async def delete_task(user_id: User, db: Db, task_id: UUID):
    """Remove the task."""
    gone = delete(Task).where(col(Task.user_id) == user_id, col(Task.id) == task_id)
    if not db.exec(gone.execution_options(synchronize_session=False)).rowcount:
        raise HTTPException(404, "Task not found")
    db.commit()
    return Deleted()


def changed(user_id: str, db: Db, task_id: UUID, values: dict[str, object]) -> Task:
    """One statement, so that of two changes at a time none is lost."""
    change = (
        update(Task)
        .where(col(Task.user_id) == user_id, col(Task.id) == task_id)
        .values(**values, updated_at=func.clock_timestamp())
        .returning(Task)
        .execution_options(synchronize_session=False)
    )
    task = found(db.exec(change).scalars().first())
    db.commit()
    return task


def found(task: Task | None) -> Task:
    """The task. Raises a 404 when there is none."""
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


handler = handler_of(app)
