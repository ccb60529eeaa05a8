"""Reads a whole database for an audit: one read transaction, in the order of rows, in bounded memory."""

from lognode.timeline.store.audit.whole import audit, audit_file

__all__ = ["audit", "audit_file"]
