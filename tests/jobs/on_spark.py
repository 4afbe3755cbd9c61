"""on_spark.py RUN_SQL JOBS LAKE: every line of stdin is a run, as {"job", "partition", "location",
"revision"}; all in one session of jobs/run_sql.py, written into the lake, nothing switched. Prints
what each came to, one JSON object a line."""

import importlib.util
import json
import sys
from pathlib import Path


def main(run_sql, jobs, lake):
    spec = importlib.util.spec_from_file_location("run_sql", run_sql)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Small for this machine; none of it changes what is answered.
    spark = module.open_session(
        **{
            "spark.master": "local[2]",
            "spark.sql.shuffle.partitions": "1",
            "spark.default.parallelism": "1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            # Less to compile for each small query.
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.driver.memory": "1g",
        }
    )
    definitions = module.LakeDefinitions(spark, lake)
    for line in sys.stdin:
        one = json.loads(line)
        job = module.Job(one["job"], (Path(jobs) / f"{one['job']}.sql").read_text())
        done = module.run(
            spark, job, definitions, lake, one["location"], one["partition"], one["revision"]
        )
        print(json.dumps(done), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
