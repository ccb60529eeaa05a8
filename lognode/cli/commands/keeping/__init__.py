"""Commands that keep a timeline elsewhere: backups and bundles."""
