-- The table of the rivals, in a database of their own. It is part of the benchmark's contract
-- (bench/README.md): no migration of the product changes it.
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

CREATE INDEX tasks_by_status ON tasks (user_id, completed, id);

CREATE ROLE rival_api NOLOGIN;
GRANT USAGE ON SCHEMA public TO rival_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO rival_api;

ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;

CREATE POLICY own_tasks ON tasks TO rival_api
    USING (user_id = nullif(current_setting('app.user_id', true), ''))
    WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''));
