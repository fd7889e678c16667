"""Calls already made: from files of any kind to calls and sums, each once, or columns of them.

The way through: ``files`` finds them and cuts them into documents; ``formats`` knows what one says
of calls; ``entries`` puts both together; ``reading`` lets each call through once and says what was
left out. ``batches`` makes columns of many calls and adds them up; ``engine`` reads large tables as
columns from the start. The doors are ``read_logs``, ``backfill`` and ``read_batches``.
"""
