"""Rules at work: pure plans between what rules say and what is written."""
