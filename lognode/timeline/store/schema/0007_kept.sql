-- Each checkpoint that is kept names the one that is kept before it, so that none can go missing between two others.
ALTER TABLE checkpoints ADD COLUMN prior INTEGER NOT NULL DEFAULT 0;  -- its size; 0 where there is none

UPDATE checkpoints SET prior = coalesce(
  (SELECT max(c.size) FROM checkpoints c WHERE c.feed = checkpoints.feed AND c.size < checkpoints.size), 0);
