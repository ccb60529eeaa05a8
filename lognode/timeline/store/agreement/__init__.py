"""The tables of what nodes agree on."""
