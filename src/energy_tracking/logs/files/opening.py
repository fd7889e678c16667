"""Files of already-made calls, opened and cut into documents.

Order of events, all by content and none by name: a path leads to files (folders, globs, ``-``);
a file's first bytes say how it is packed (gzip, zstd, bz2, xz, zip, tar, Parquet, SQLite) and
written (byte-order mark); what comes out says what it holds (JSON in lines, JSON otherwise,
server-sent events, a table, a dump of PostgreSQL, an aider history). Each kind is a row of
``KINDS``, and yields documents with their line.

Nothing is read whole but a single JSON document, the members of a zip, and Parquet by batches.
"""

from __future__ import annotations

import codecs
import csv
import errno
import glob
import gzip
import io
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any, BinaryIO, NoReturn

from energy_tracking.bounds import read_path
from energy_tracking.errors import say_install
from energy_tracking.logs.files.decoding import NOT_JSON, decode, decode_printed, iterate_documents
from energy_tracking.logs.files.delimited import (
    DUMP,
    UnreadableFileError,
    is_header,
    read_dump,
    read_table,
    split_header,
)
from energy_tracking.logs.files.inspected import START as INSPECTED_START
from energy_tracking.logs.files.inspected import read_inspected
from energy_tracking.logs.files.lines import read_history, read_json_lines, read_server_sent_events
from energy_tracking.logs.files.packed import PACKINGS, SAVE_AS, Packing, iterate_packed, say_unread
from energy_tracking.logs.files.pieces import (
    HEAD,
    buffer_pieces,
    iterate_chunks,
    recode_pieces,
    rejoin_head,
)
from energy_tracking.logs.files.text_lines import begins_with_brackets, is_printed
from energy_tracking.logs.sql import quote_name

STANDARD_INPUT = "-"
PARQUET_ROWS = 4096
ZIP_ZSTD = 93
"""The method of a zip's member, which ``zipfile`` reads from Python 3.14 on."""

# What a folder is searched for. A file that is named is read whatever its name is.
SUFFIXES = frozenset(
    {".bz2", ".csv", ".db", ".eval", ".gz", ".har", ".json", ".jsonl", ".log", ".md", ".ndjson"}
    | {".parquet", ".sqlite", ".sse", ".tar", ".tgz", ".traj", ".tsv", ".txt", ".xz", ".zip"}
    | {".zst"}
)

_ROTATED = re.compile(r"(?<=\.log|json|sonl)[.-]\d[\dt_.:-]*$")
"""What stands behind the ending of a log that was rotated."""

Documents = Iterator[tuple[int, Any]]

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def find_files(
    paths: Iterable[str | os.PathLike[str]], skipped: Counter[str] | None = None
) -> Iterator[str]:
    """List the files that paths lead to: files, folders with all below, patterns, ``-``.

    Args:
        paths: The paths.
        skipped: Counts what is skipped in folders: files by their ending, hidden folders.

    Raises:
        FileNotFoundError: A path leads to none.
        OSError: A folder cannot be listed.
        ConfigurationError: One is no path.
    """
    for given in paths:
        path = read_path("path", given)
        if path == STANDARD_INPUT or os.path.isfile(path):
            yield path
        elif os.path.isdir(path):
            found = list(_files_below(path, skipped))
            if not found:
                endings = " ".join(sorted(SUFFIXES))
                raise FileNotFoundError(2, f"No file that ends in one of {endings}", path)
            yield from found
        elif os.path.exists(path):
            yield path  # a pipe
        else:
            found = sorted(filter(os.path.isfile, glob.iglob(path, recursive=True)))
            if not found:
                raise FileNotFoundError(2, "No such file, folder or pattern", path)
            yield from found


def _files_below(folder: str, skipped: Counter[str] | None) -> Iterator[str]:
    skipped = Counter() if skipped is None else skipped
    for root, folders, names in os.walk(folder, onerror=_raise):
        skipped.update("hidden folders" for name in folders if name.startswith("."))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # They may lead back to where they lie.
        skipped.update("linked folders" for name in folders if _is_link(root, name))
        for name in sorted(names):
            ending = _ending_of(name)
            if ending in SUFFIXES:
                path = os.path.join(root, name)
                if os.path.isfile(path):
                    yield path
                else:
                    skipped["links to nothing" if _is_link(root, name) else "no files"] += 1
            else:
                skipped[ending or "no ending"] += 1


def _raise(error: OSError) -> NoReturn:
    raise error


def _is_link(folder: str, name: str) -> bool:
    return os.path.islink(os.path.join(folder, name))


def _ending_of(name: str) -> str:
    """The end of a file's name, which says what it may hold, without what may stand behind it.

    Bedrock's end in ``.jsonl.out``, and logs that were rotated in a number or a time.
    """
    ending = os.path.splitext(_ROTATED.sub("", name.lower().removesuffix(".out")))[1]
    return ending if ending in SUFFIXES else os.path.splitext(name)[1].lower()


def read_documents(path: str) -> Documents:
    """Cut a file into documents, each with its line, row or number, from 1.

    A document is what JSON, a row or a line of a history holds; ``NOT_JSON`` where it could not
    be decoded.

    Raises:
        OSError: The file cannot be read.
        UnreadableFileError: It ends too early, cannot be unpacked, or needs a package that is
            missing.
    """
    with ExitStack() as opened:
        if path == STANDARD_INPUT:
            # There is none in a process that was started without one.
            given: BinaryIO | None = getattr(sys.stdin, "buffer", None)
            if given is None:
                raise OSError(errno.EBADF, "standard input is closed", path)
            stream = given
        else:
            stream = opened.enter_context(open(path, "rb"))
        try:
            yield from _documents_of(stream, path)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            raise UnreadableFileError(f"the file is damaged: {error}") from error
        except (UnicodeError, csv.Error, NotImplementedError) as error:
            raise UnreadableFileError(f"the file cannot be decoded: {error}") from error


def _documents_of(stream: BinaryIO, path: str) -> Documents:
    head = stream.read(HEAD)
    for magic, unpack, place in _PACKED:
        if head.startswith(magic, place):
            return unpack(rejoin_head(head, stream), path)
    unread = say_unread(head)
    if unread is not None:
        raise UnreadableFileError(unread)
    encoding = next((name for bom, name in BOMS if head.startswith(bom)), None)
    encoding = encoding or _guess_encoding(head)
    if encoding == "utf-8":
        head = head[len(codecs.BOM_UTF8) :]
    elif encoding is not None:
        stream = buffer_pieces(recode_pieces(iterate_chunks(head, stream), encoding))
        head = stream.read(HEAD)
    return KINDS[kind_of(head)](rejoin_head(head, stream))


def _guess_encoding(head: bytes) -> str | None:
    """UTF-16 without its mark, where every other byte of a text is none; else None."""
    even, odd = head[:64:2], head[1:64:2]
    for some, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(head) > 3 and not any(some) and all(others):
            return encoding
    return None


def kind_of(head: bytes) -> str:
    """Say what a file holds by its start: a key of ``KINDS``."""
    start = head.lstrip(b" \t\r\n\x1e")
    first, newline, rest = start.partition(b"\n" if b"\n" in start else b"\r")
    if b"\x1e" in head[: len(head) - len(start)]:
        return "json"
    if start.startswith(b"{"):
        # A line that is whole is the first of many; else the document goes on.
        whole = bool(newline) and decode(first) is not NOT_JSON
        whole = whole or decode_printed(first) is not NOT_JSON
        if not whole and INSPECTED_START.match(start):
            return "javascript objects"
        return "json lines" if whole else "json"
    if start.startswith(b"["):
        return "json lines" if begins_with_brackets(first) else "json"
    if _EVENT.match(start):
        return "server-sent events"
    if _HISTORY.search(start):
        return "history"
    if DUMP.search(start):
        return "dump"
    if is_printed(start):
        return "json lines"
    header, *_ = split_header(iter(start.decode("utf-8", "replace").splitlines()))
    if is_header(header, rest):
        return "table"
    return "javascript objects" if INSPECTED_START.search(rest) else "json lines"


_EVENT = re.compile(rb"(?:data|event|id|retry)?:[ \t]?")
_HISTORY = re.compile(rb"^(?:# aider chat started at|> Tokens: \S+ sent)", re.MULTILINE)


# The kinds.


KINDS: dict[str, Callable[[BinaryIO], Documents]] = {
    "json lines": read_json_lines,
    "json": iterate_documents,
    "server-sent events": read_server_sent_events,
    "history": read_history,
    "table": read_table,
    "dump": read_dump,
    "javascript objects": read_inspected,
}


# How they are packed.


def _unpacks(packing: Packing) -> Callable[[BinaryIO, str], Documents]:
    """What reads the files of a packing."""

    def unpack(stream: BinaryIO, path: str) -> Documents:
        damage: list[str] = []
        try:
            pieces = iterate_packed(packing, stream, damage)
        except ImportError as error:
            raise UnreadableFileError(name_missing_package(error.name or "zstandard")) from None
        return _read_unpacked(pieces, damage, path)

    return unpack


def _read_unpacked(pieces: Iterator[bytes], damage: list[str], path: str) -> Documents:
    yield from _documents_of(buffer_pieces(pieces), path)
    if damage:
        raise UnreadableFileError(f"the file is damaged: {damage[0]}")


def _unpack_zip(stream: BinaryIO, path: str) -> Documents:
    """The members of an archive, one after the other; of inspect's, the samples alone."""
    try:
        with zipfile.ZipFile(stream if stream.seekable() else io.BytesIO(stream.read())) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if "xl/workbook.xml" in names:
                raise UnreadableFileError(f"a workbook of Excel is not read: {SAVE_AS}")
            if any(name.startswith("samples/") for name in names):
                # Summaries and journal say the same in sums.
                names = ["header.json", *(name for name in names if name.startswith("samples/"))]
            for name in names:
                if name in archive.namelist():
                    with _open_member(archive, archive.getinfo(name)) as member:
                        yield from _documents_of(member, path)
    except UnreadableFileError:
        raise
    except Exception as error:  # each method of packing has its own
        raise UnreadableFileError(f"the file is damaged: {error}") from error


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """A member of a zip; of one packed by zstd, as inspect's are, the packed bytes.

    Args:
        archive: The zip.
        info: What its directory says of the member.

    Raises:
        UnreadableFileError: It is encrypted.
    """
    if info.compress_type == ZIP_ZSTD and sys.version_info < (3, 14):
        # Of a member that is stored the bytes come as they are.
        info = copy(info)
        info.compress_type, info.file_size = zipfile.ZIP_STORED, info.compress_size
        info.CRC = None  # type: ignore[assignment]
    try:
        return archive.open(info)  # type: ignore[return-value]
    except RuntimeError:
        raise UnreadableFileError(f"its member {info.filename} is encrypted") from None


def _read_parquet(stream: BinaryIO, path: str) -> Documents:
    try:
        import duckdb
    except ImportError:
        raise UnreadableFileError(name_missing_package("duckdb")) from None
    try:
        with _open_as_file(stream, path, b"PAR1") as name:
            yield from _rows_of_parquet(duckdb, name)
    except duckdb.Error as error:
        raise UnreadableFileError(f"the file is damaged: {error}") from error


def _rows_of_parquet(duckdb: Any, path: str) -> Documents:
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        source, file = "read_parquet(?)", [glob.escape(path)]
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}", file).fetchall()
        # A time with a zone would come in the zone of this machine, by a package of its own.
        zoned = ", ".join(
            f"timezone('UTC', {quoted}) AS {quoted}"
            for name, type, *_ in described
            if type == "TIMESTAMP WITH TIME ZONE"
            for quoted in (quote_name(name),)
        )
        replaced = f" REPLACE ({zoned})" if zoned else ""
        result = connection.execute(f"SELECT *{replaced} FROM {source}", file)
        names = [name for name, *_ in described]
        number = 0
        while rows := result.fetchmany(PARQUET_ROWS):
            for row in rows:
                number += 1
                yield number, dict(zip(names, row, strict=True))


def _read_sqlite(stream: BinaryIO, path: str) -> Documents:
    from energy_tracking.logs.files.databases import read_database

    with _open_as_file(stream, path, _SQLITE) as name:
        try:
            yield from read_database(name)
        except ValueError as error:
            raise UnreadableFileError(str(error)) from error


def _unpack_tar(stream: BinaryIO, path: str) -> Documents:
    """The files in an archive, one after the other, as those in a folder."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                ending = _ending_of(name)
                if not member.isfile() or name.startswith(".") or ending not in SUFFIXES:
                    continue
                opened = archive.extractfile(member)
                if opened is not None:
                    yield from _documents_of(opened, path)  # type: ignore[arg-type]
    except tarfile.TarError as error:
        raise UnreadableFileError(f"the file is damaged: {error}") from error


@contextmanager
def _open_as_file(stream: BinaryIO, path: str, magic: bytes) -> Iterator[str]:
    """The name of a file with a stream's content: its own, or a copy of what was packed."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            is_own = file.read(len(magic)) == magic
        if is_own:
            yield path
            return
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "content")
        with open(name, "wb") as copy:
            shutil.copyfileobj(stream, copy)
        yield name


def name_missing_package(package: str) -> str:
    """Why something cannot be read where a package is not installed, and what to do about it."""
    return f"it needs the package {package!r}; {say_install('report')}"


_SQLITE = b"SQLite format 3\0"
# What a packed file has, how it is read, and at which byte it has that.
_PACKED: tuple[tuple[bytes, Callable[[BinaryIO, str], Documents], int], ...] = (
    *((packing.mark, _unpacks(packing), packing.place) for packing in PACKINGS),
    *((magic, _unpack_zip, 0) for magic in (b"PK\x03\x04", b"PK\x05\x06")),
    (b"PAR1", _read_parquet, 0),
    (_SQLITE, _read_sqlite, 0),
    (b"ustar", _unpack_tar, 257),
)
