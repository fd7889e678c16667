"""A frame of Apache Spark, estimated by two workers, has the energy of the same table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyspark", reason="Spark is not installed: pip install '.[spark]'")
pyarrow = pytest.importorskip("pyarrow", reason="Spark hands batches of Arrow to workers")
parquet = pytest.importorskip("pyarrow.parquet")

from energy_tracking.spark import _find_cache_hits  # noqa: E402
from energy_tracking.tables import STATUSES, estimate_table  # noqa: E402

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(
        shutil.which("java") is None and "JAVA_HOME" not in os.environ,
        reason="Spark needs Java: apt-get install default-jre-headless",
    ),
]

ROOT = Path(__file__).parents[2]
MODELS = ("gpt-4o", "o1", "deepseek-ai/DeepSeek-V3", "no-such-model", None)
ROWS = 60_000

# What cannot be estimated, and frames that are refused, in one process: a session of Spark
# takes many seconds to start.
REFUSED = """
import sys
from pyspark.sql import SparkSession
from energy_tracking.errors import EnergyTrackingError
from energy_tracking.spark import add_energy

spark = SparkSession.builder.getOrCreate()
frame = spark.createDataFrame([(1, 2, "x")], "a long, b long, c string")
tokens = spark.createDataFrame([(10, None, "gpt-4o"), (None, None, "gpt-4o"), (-1, 2, "gpt-4o")],
                               "input_tokens int, output_tokens int, model string")
written = spark.createDataFrame(
    [(10, 5, 100, 20, 3, False), (10, 5, 0, 0, 0, True)],
    "input_tokens int, output_tokens int, cache_read_input_tokens int,"
    " usage_input_tokens_cache_write_5m int, usage_input_tokens_cache_write_1h int,"
    " cache_hit boolean")
for given, arguments in (
    (frame, {}),
    (frame, {"columns": {"input": "a", "output": "c"}}),
    (frame, {"columns": {"input": "a", "output": "d"}}),
    (frame, {"columns": {"inputs": "a"}}),
    (tokens, {"gpu": "H1000"}),
    (add_energy(tokens), {}),
    (tokens.withColumnRenamed("model", "num_requests"), {}),
    (tokens.withColumnRenamed("model", "day"), {}),
    (tokens.withColumnRenamed("input_tokens", "input tokens (k)"), {}),
):
    try:
        add_energy(given, **arguments)
    except EnergyTrackingError as error:
        print(type(error).__name__, error)
for rows in (add_energy(tokens), add_energy(written, default_model="gpt-4o")):
    print(*[(row.energy_status, row.total_energy_wh) for row in rows.collect()], sep=";")
spark.stop()
"""


def submit(script: Path, *arguments: str) -> str:
    """Run a script by Spark's own command, with two workers on this machine."""
    import pyspark

    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit")]
    settings = (
        "spark.ui.enabled=false",
        "spark.sql.execution.arrow.maxRecordsPerBatch=10000",
        # For a few seconds of work: most of them would go into tasks of nothing, and into
        # compiling Spark to the best code there is.
        "spark.sql.shuffle.partitions=2",
        "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    )
    for setting in settings:
        command += ["--conf", setting]
    environment = os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        # Whatever the name of this machine leads to, its workers listen here.
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(
        [*command, "--master", "local[2]", str(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_cache_hit_is_one_whatever_blanks_are_around_its_word() -> None:
    words = pyarrow.array(["true", " Hit ", "1 ", "no", "", None])
    assert _find_cache_hits(words).tolist() == [True, True, True, False, False, False]


def make_calls(folder: Path) -> tuple[Path, dict[str, Any], Any]:
    """A folder of two files of calls, and their columns."""
    random = np.random.default_rng(0)
    columns = {
        "input_tokens": random.integers(1, 100_000, ROWS),
        "output_tokens": random.integers(0, 5_000, ROWS),
    }
    columns["cached_input_tokens"] = columns["input_tokens"] // random.integers(1, 9, ROWS)
    codes = random.integers(0, len(MODELS), ROWS)
    names = pyarrow.array([MODELS[code] for code in codes])
    table = pyarrow.table({**columns, "model": names})
    for part in range(2):
        half = table.slice(part * ROWS // 2, ROWS // 2)
        parquet.write_table(half, folder / f"part-{part}.parquet")
    return folder, columns, codes


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_two_workers_add_up_to_the_energy_of_the_table(method: str, tmp_path: Path) -> None:
    folder, columns, codes = make_calls(tmp_path)
    script = ROOT / "examples" / "spark" / "sum_energy.py"
    found = [json.loads(line) for line in submit(script, str(folder), method).splitlines()]
    whole = estimate_table(**columns, model=codes, models=MODELS, method=method)
    assert {row["model"] for row in found} == set(MODELS)
    for row in found:
        some = codes == MODELS.index(row["model"])
        assert row["calls"] == some.sum()
        assert row["energy_status"] == STATUSES[int(whole.status[some][0])]
        for name, column in (
            ("energy_wh", whole.total_energy_wh),
            ("low_wh", whole.total_energy_low_wh),
            ("high_wh", whole.total_energy_high_wh),
        ):
            assert column is not None
            if row["energy_status"] == "estimated":
                assert row[name] == pytest.approx(float(column[some].sum()), rel=1e-12)
            else:
                assert row[name] is None


def test_what_cannot_be_estimated_is_reported_before_or_beside(tmp_path: Path) -> None:
    script = tmp_path / "refused.py"
    script.write_text(REFUSED, "utf-8")
    *refusals, rows, cached = submit(script).splitlines()
    for line, words in zip(
        refusals,
        (
            "frame must be a frame with columns of input and output tokens",
            "column 'c' must be one of numbers",
            "columns['output'] must be one of",
            "column must be one of",
            "H1000",
            "without a column 'total_energy_wh'",
            "without a column of sums over many requests, got 'num_requests'",
            "without a column of sums over many requests, got 'day'",
            "without counts in thousands or millions, got 'input tokens (k)'",
        ),
        strict=True,
    ):
        assert words in line
    first, *others = map(literal_eval, rows.split(";"))
    expected = estimate_table(10, 0, model="gpt-4o").total_energy_wh[0]
    assert first == ("estimated", pytest.approx(expected, rel=1e-12))
    assert others == [("not a count of tokens", None)] * 2
    beside = estimate_table(133, 5, model="gpt-4o", cached_input_tokens=100).total_energy_wh[0]
    estimated, avoided = map(literal_eval, cached.split(";"))
    assert estimated == ("estimated", pytest.approx(beside, rel=1e-12))
    assert avoided == ("answered from a cache", 0.0)
