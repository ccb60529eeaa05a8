-- Named subscriptions. Nothing here follows from spans, so each row has a seal by which damage is found.

CREATE TABLE subscriptions (
  tenant        INTEGER NOT NULL REFERENCES tenants,
  name          TEXT NOT NULL,
  filter        TEXT NOT NULL,     -- JSON of URL parameters
  webhook       TEXT,              -- by name; NULL: consumers connect
  ack_wait_ms   INTEGER NOT NULL,
  max_in_flight INTEGER NOT NULL,
  max_attempts  INTEGER NOT NULL,
  created_ms    INTEGER NOT NULL,  -- Unix ms, as all times here
  run           INTEGER NOT NULL,  -- rises when it is set to another place
  checkpoint    INTEGER NOT NULL,  -- position up to which all is acknowledged or parked
  beyond        BLOB NOT NULL,     -- CBOR: what is so beyond it, and what was tried
  seal          BLOB NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- Spans that are tried no more until somebody asks for them.
CREATE TABLE parked (
  tenant    INTEGER NOT NULL,
  name      TEXT NOT NULL,     -- of the subscription
  position  INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  parked_ms INTEGER NOT NULL,
  again     INTEGER NOT NULL,  -- 1: somebody asked
  seal      BLOB NOT NULL,
  PRIMARY KEY (tenant, name, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX parked_again ON parked (tenant, name, position) WHERE again = 1;
