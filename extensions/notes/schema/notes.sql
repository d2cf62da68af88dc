-- Short texts a team writes down. `pinned` ones are shown to everyone, without a credential.
CREATE TABLE IF NOT EXISTS notes (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author     UUID NOT NULL,
    text       TEXT NOT NULL,
    pinned     BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS notes_pinned ON notes (created_at DESC) WHERE pinned;
