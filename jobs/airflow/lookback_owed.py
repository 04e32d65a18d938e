"""A DAG that waits for lookback's ledger: what each publisher is owed, whenever it has changed."""

import json
import subprocess

from airflow.sdk import Asset, dag, task

JOB = "/etc/lookback/job.toml"
OWED = """
    select publisher_id, sum(approved_commission) as owed
    from report.transaction_details group by publisher_id order by owed desc
"""


@dag(schedule=[Asset.ref(name="lookback/report.transaction_details")], max_active_runs=1)
def lookback_owed():
    @task
    def owed():
        query = ["lookback", "query", JOB, OWED, "--format", "json"]
        answer = subprocess.run(query, stdout=subprocess.PIPE, check=True)
        return json.loads(answer.stdout)

    owed()


lookback_owed()
