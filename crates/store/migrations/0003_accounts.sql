-- People, and what they may have.
CREATE TABLE accounts (
    id           TEXT PRIMARY KEY,
    email        TEXT NOT NULL UNIQUE,
    -- An argon2id hash; none while nobody has chosen a password.
    password     TEXT,
    admin        BIGINT NOT NULL,
    state        TEXT NOT NULL,
    confirmed_at BIGINT,
    -- None for what everybody may have.
    quota        TEXT,
    created_at   BIGINT NOT NULL,
    signed_in_at BIGINT
);

CREATE TABLE passkeys (
    -- The credential's id, as the authenticator gave it.
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    label      TEXT NOT NULL,
    -- Public key and counter.
    credential TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX passkeys_account ON passkeys (account_id);

CREATE TABLE account_sessions (
    hash       TEXT PRIMARY KEY,
    -- What it is called in lists; opens nothing.
    id         TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    device     TEXT NOT NULL,
    address    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX account_sessions_account ON account_sessions (account_id);

-- Links that do one thing once: confirm an address, set a password, or sign up by invitation.
CREATE TABLE links (
    hash       TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    account_id TEXT REFERENCES accounts (id) ON DELETE CASCADE,
    email      TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

ALTER TABLE instances ADD COLUMN account_id TEXT;
CREATE INDEX instances_account ON instances (account_id);
ALTER TABLE archives ADD COLUMN account_id TEXT;

-- Who signs out of the portal is out of the instances that they entered from there.
ALTER TABLE tickets ADD COLUMN account_session TEXT REFERENCES account_sessions (hash) ON DELETE CASCADE;
ALTER TABLE sessions ADD COLUMN account_session TEXT REFERENCES account_sessions (hash) ON DELETE CASCADE;
