"""Spans for people and for programs: columns, cards and trees, fields, and the pager that long ones go through.

Makes text; only the pager does something. Every text of a span passes `safe`.
"""
