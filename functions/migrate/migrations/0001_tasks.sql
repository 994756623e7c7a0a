-- One index serves everything that the API asks by default: whose task it is, the task itself,
-- and the order of creation, because ids are UUIDs of version 7.
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
