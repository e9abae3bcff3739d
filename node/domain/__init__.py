"""Procedures, cases and deadlines as pure functions of values: no clock, no network, no database, no keys.

Read in this order: `events` (what is exchanged), `procedures` (what is allowed, made from files by `parsing` and
`checks`), `fold` (what a set of events means), `deadlines`, `forms`, `steps` (what may be done now, and doing it).
Nothing here names a procedure, a workflow, a role or a step of one, except the built-in lane step `received`.
"""
