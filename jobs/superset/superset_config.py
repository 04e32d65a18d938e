"""Settings of the Superset that up.py starts: for one machine, not for production."""

import os
from pathlib import Path

HOME = Path(os.environ["LOOKBACK_SUPERSET_HOME"])

SECRET_KEY = (HOME / "secret_key").read_text()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME / 'superset.db'}?check_same_thread=false"
APP_NAME = "lookback"
# The browser asks nobody but this server.
TALISMAN_ENABLED = True


def DB_CONNECTION_MUTATOR(uri, params, username, security_manager, source):
    """DuckDB finds its extension below the home folder, and needs no network for it."""
    if uri.drivername == "duckdb":
        config = params.setdefault("connect_args", {}).setdefault("config", {})
        config["extension_directory"] = str(HOME / "extensions")
    return uri, params
