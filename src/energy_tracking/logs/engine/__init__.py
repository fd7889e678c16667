"""Tables of calls, read by DuckDB: Parquet, CSV and JSON lines of any size, as batches of columns.

The same rows as the line reader gives, many at a time. Order of events:

1. ``recognise_table`` says whether a file is a large table of calls whose columns are known, and
   ``find_table``, how DuckDB, which is loaded for such files alone, reads it;
2. ``read_table`` asks DuckDB for whole numbers, times and names, and, for each row, whether
   anything about it is odd: a count that is none, more tokens than any model takes, a time that
   cannot be read;
3. rows that are odd, and all that follow where DuckDB cannot read on, go to the line reader, which
   knows what to do with them, and counts what it leaves out with its line.

Rows keep their order, so that a row's number is the same to both readers. Memory does not grow
with the rows: DuckDB streams, and what it cannot hold, it puts into a temporary file.

The rooms: ``opening`` (DuckDB itself), ``finding`` (which files), ``queries`` (what DuckDB is
asked), ``reading`` (batches), ``parts`` (tables of some rows of a file). A new kind of file is a
row of ``SOURCES`` in ``finding``; a new column, a row of ``READERS`` in ``queries``.
"""
