-- Columns are TEXT or BIGINT only: ids as text, times in milliseconds, booleans 0 or 1,
-- JSON as text. So the same statements can run on PostgreSQL later.

CREATE TABLE instances (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    owner       TEXT NOT NULL,
    slot        BIGINT NOT NULL UNIQUE,
    desired     TEXT NOT NULL,
    health      TEXT NOT NULL,
    wrapped_key TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX instances_owner ON instances (owner);

CREATE TABLE secrets (
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    sealed      TEXT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (instance_id, name)
);

-- No reference to instances: operations and events outlive them.
CREATE TABLE operations (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    state       TEXT NOT NULL,
    steps       TEXT NOT NULL,
    error       TEXT,
    created_at  BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT
);
CREATE INDEX operations_instance ON operations (instance_id, id);
CREATE INDEX operations_name ON operations (name, id);
CREATE INDEX operations_open ON operations (instance_id) WHERE finished_at IS NULL;

CREATE TABLE events (
    id          TEXT PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    -- Of which instance. The name alone may have been another's before.
    instance_id TEXT,
    name        TEXT,
    actor       TEXT NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX events_instance ON events (instance_id, id);
CREATE INDEX events_name ON events (name, id);

CREATE TABLE idempotency (
    actor        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    hash         TEXT NOT NULL UNIQUE,
    label        TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    -- The name of the one instance it is for. It goes with that instance, or it would open
    -- the next one of that name.
    instance     TEXT,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);

CREATE INDEX tokens_instance ON tokens (instance);

CREATE TABLE tickets (
    hash        TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    identity    TEXT NOT NULL,
    expires_at  BIGINT NOT NULL
);

CREATE TABLE sessions (
    hash        TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    identity    TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
