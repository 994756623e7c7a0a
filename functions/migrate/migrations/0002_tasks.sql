-- The primary key serves everything that the API asks by default: whose task it is, the task
-- itself, and the order of creation, because ids are UUIDs of version 7.
CREATE TABLE tasks (
    user_id     text        NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 255),
    id          uuid        NOT NULL,
    title       text        NOT NULL CHECK (char_length(title) BETWEEN 1 AND 500),
    description text        CHECK (char_length(description) <= 5000),
    completed   boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

-- The pending tasks of somebody who has completed almost all of theirs, and the other way round:
-- without it such a page reads every task before the ones that it shows (docs/paging.md has the
-- figures). An update that leaves `completed` alone does not touch this index.
CREATE INDEX tasks_by_status ON tasks (user_id, completed, id);

-- The planner's statistics hold values of a column as they were at the last ANALYZE, and so texts
-- of tasks that were deleted since. No query needs them for texts.
ALTER TABLE tasks ALTER COLUMN title SET STATISTICS 0, ALTER COLUMN description SET STATISTICS 0;

GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO task_api;

ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;

-- Without a user, or with an empty one, the comparison is NULL: nothing is visible or written.
CREATE POLICY own_tasks ON tasks TO task_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));
