-- What a node does later. Nothing here follows from spans, so each row has a seal by which damage is found.

CREATE TABLE tasks (
  tenant      INTEGER NOT NULL REFERENCES tenants,
  task        BLOB NOT NULL,     -- 16 bytes
  what        TEXT NOT NULL,     -- emit, webhook or journal
  payload     BLOB NOT NULL,     -- CBOR; its form is as `what` says
  state       TEXT NOT NULL,     -- waiting, running, done, dead or cancelled
  priority    INTEGER NOT NULL,  -- 0 to 9, the lowest first
  created_ms  INTEGER NOT NULL,  -- Unix ms, as all times here
  due_ms      INTEGER NOT NULL,  -- when it was to run
  ready_ms    INTEGER NOT NULL,  -- before that it is not tried
  deadline_ms INTEGER,           -- from then on it is not tried
  attempts    INTEGER NOT NULL,  -- that began since it was queued last
  run         INTEGER NOT NULL,  -- how often it was queued
  ended_ms    INTEGER,
  schedule    BLOB,              -- of which it is a run
  name        TEXT,
  cause       BLOB,              -- id of the span that it follows from
  span        BLOB,              -- id of the span that it made
  error       TEXT,              -- code of its last failure
  detail      TEXT,
  target      TEXT NOT NULL,     -- the webhook that it calls, '' where it calls none
  seal        BLOB NOT NULL,
  PRIMARY KEY (tenant, task)
) STRICT;

CREATE INDEX tasks_waiting ON tasks (tenant, what, target, priority, ready_ms, task) WHERE state = 'waiting';
CREATE INDEX tasks_ready ON tasks (tenant, ready_ms, task) WHERE state = 'waiting';
CREATE INDEX tasks_by_state ON tasks (tenant, state, due_ms, task);
CREATE INDEX tasks_by_time ON tasks (tenant, due_ms, task);
CREATE INDEX tasks_ended ON tasks (tenant, ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX tasks_of_schedule ON tasks (tenant, schedule, due_ms, task) WHERE schedule IS NOT NULL;

CREATE TABLE schedules (
  tenant      INTEGER NOT NULL REFERENCES tenants,
  schedule    BLOB NOT NULL,     -- 16 bytes, which follow from tenant and name
  name        TEXT NOT NULL,
  what        TEXT NOT NULL,     -- of its tasks, as are payload and priority
  payload     BLOB NOT NULL,
  cron        TEXT,              -- or interval_ms
  interval_ms INTEGER,
  from_ms     INTEGER NOT NULL,  -- from where an interval counts
  missed      TEXT NOT NULL,     -- skip, once or all
  priority    INTEGER NOT NULL,
  patience_ms INTEGER,           -- how long behind its time a run may begin
  paused      INTEGER NOT NULL,  -- 0 or 1
  created_ms  INTEGER NOT NULL,
  handled_ms  INTEGER NOT NULL,  -- up to here all times were dealt with
  next_ms     INTEGER,
  runs        INTEGER NOT NULL,
  cause       BLOB,
  seal        BLOB NOT NULL,
  PRIMARY KEY (tenant, schedule)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_next ON schedules (next_ms) WHERE paused = 0;

-- Tenants whose tasks wait until somebody resumes them.
CREATE TABLE task_pauses (
  tenant    INTEGER PRIMARY KEY REFERENCES tenants,
  paused_ms INTEGER NOT NULL,
  seal      BLOB NOT NULL
) STRICT;
