-- Instances of which open connections are still to be cut, because somebody lost access. Written in
-- the transaction that takes the access away, so that a crash right after it loses nothing.
CREATE TABLE disconnects (
    instance_id TEXT PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    at          BIGINT NOT NULL
);

-- The token that a sign-in link was made with: what was entered with it ends with the token.
ALTER TABLE tickets ADD COLUMN token TEXT REFERENCES tokens (id) ON DELETE CASCADE;
ALTER TABLE sessions ADD COLUMN token TEXT REFERENCES tokens (id) ON DELETE CASCADE;
CREATE INDEX tickets_instance ON tickets (instance_id);
CREATE INDEX sessions_instance ON sessions (instance_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX account_sessions_expiry ON account_sessions (expires_at);

-- Names that a certificate was needed for, and when. They outlive instances and accounts: a public
-- authority counts new certificates over time, not those that are in use.
CREATE TABLE certificate_names (
    name       TEXT PRIMARY KEY,
    account_id TEXT,
    at         BIGINT NOT NULL
);
CREATE INDEX certificate_names_at ON certificate_names (at);
