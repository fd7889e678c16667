"""Add up the energy of calls in Parquet by model, on a cluster or on this machine.

pip install '.[spark]'
spark-submit --master 'local[2]' examples/spark/sum_energy.py calls.parquet roofline
"""

import json
import sys

from pyspark.sql import SparkSession

from energy_tracking.spark import add_energy

path, method = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "reference"
spark = SparkSession.builder.appName("energy of LLM calls").getOrCreate()
calls = add_energy(spark.read.parquet(path), method=method)
calls.createOrReplaceTempView("calls")
sums = spark.sql(
    """
    SELECT model, energy_status, count(*) AS calls, sum(total_energy_wh) AS energy_wh,
        sum(total_energy_low_wh) AS low_wh, sum(total_energy_high_wh) AS high_wh
    FROM calls GROUP BY model, energy_status ORDER BY energy_wh DESC NULLS LAST
    """
)
for row in sums.collect():
    print(json.dumps(row.asDict()))
spark.stop()
