//! How each engine calls the folder of a table, and what a person has to fill in or know before the
//! statements run.
//!
//! Refuses locations that an engine cannot read.

use std::fmt::Write;

use super::{Dialect, Only, Request};
use crate::model::Model;
use crate::stop::Stop;

/// Where the root is, as its URL says.
enum Root {
    /// A folder of this machine.
    Local(String),
    /// A bucket or container, and the folder in it without slashes around it.
    Store { scheme: String, bucket: String, folder: String },
}

impl Request<'_> {
    fn root(&self) -> Root {
        let url = self.root.url();
        match self.root.local_path() {
            Some(path) => Root::Local(path.display().to_string()),
            None => Root::Store {
                scheme: url.scheme().to_owned(),
                bucket: url.host_str().unwrap_or_default().to_owned(),
                folder: self.root.path().to_string(),
            },
        }
    }

    /// A table's folder, as the engine calls it. In Snowflake relative to the external volume. For
    /// ClickHouse the table engine around it. Errors: exit 2 when the engine cannot read it.
    pub fn place(&self, model: &Model) -> Result<String, Stop> {
        let text = |place: String| self.dialect.text(&place);
        let (scheme, bucket, folder) = match self.root() {
            Root::Local(root) => {
                let path = format!("{}/{}", root.trim_end_matches('/'), model.folder());
                return match self.dialect {
                    Dialect::Duckdb => Ok(text(path)),
                    Dialect::Clickhouse => Ok(format!("DeltaLakeLocal({})", text(path))),
                    Dialect::Spark => Ok(text(format!("file://{path}"))),
                    _ => Err(self.refuse("a folder of this machine")),
                };
            }
            Root::Store { scheme, bucket, folder } => (scheme, bucket, folder),
        };
        let path = format!("{folder}/{}", model.folder());
        let path = path.trim_start_matches('/');
        let place = match (self.dialect, scheme.as_str()) {
            (Dialect::Snowflake, _) => text(model.folder()),
            (Dialect::Spark, "s3") => text(format!("s3a://{bucket}/{path}")),
            (Dialect::Athena, "s3") => text(format!("s3://{bucket}/{path}/")),
            (Dialect::Athena, "gs") => return Err(self.refuse("in Google Cloud Storage")),
            (Dialect::Athena, _) => return Err(self.refuse("in Azure Blob Storage")),
            (Dialect::Clickhouse, "s3" | "gs") => {
                format!("DeltaLake({})", text(format!("{scheme}://{bucket}/{path}")))
            }
            (Dialect::Clickhouse, _) => format!(
                "DeltaLakeAzure('YOUR_CONNECTION_STRING', {}, {})",
                text(bucket),
                text(path.to_owned())
            ),
            (Dialect::Bigquery, "az") => {
                text(format!("azure://YOUR_ACCOUNT.blob.core.windows.net/{bucket}/{path}"))
            }
            (Dialect::Spark | Dialect::Databricks | Dialect::Trino, "az") => {
                text(format!("abfss://{bucket}@YOUR_ACCOUNT.dfs.core.windows.net/{path}"))
            }
            (_, scheme) => text(format!("{scheme}://{bucket}/{path}")),
        };
        Ok(place)
    }

    fn refuse(&self, what: &str) -> Stop {
        let engine = self.dialect.title();
        let can = match self.dialect {
            Dialect::Athena => "s3://",
            _ => "s3://, gs:// and az://",
        };
        let trouble = format!("{}: [output] root is {what}, which {engine} cannot read", self.root);
        Stop::fix_one(trouble).hint(format!(
            "{engine} reads {can}; duckdb, spark and clickhouse read local folders, too"
        ))
    }
}

/// The comment at the top. Errors: see [`Request::place`].
pub fn notes(request: &Request) -> Result<String, Stop> {
    let what = match request.only {
        None => "Tables and views",
        Some(Only::Tables) => "Tables",
        Some(Only::Views) => "Views",
    };
    let mut text =
        format!("-- {what} of lookback in {}, at {}\n", request.dialect.title(), request.root);
    for line in about(request) {
        let _ = writeln!(text, "-- {line}");
    }
    Ok(text)
}

/// What a person has to know.
fn about(request: &Request) -> Vec<String> {
    let has_tables = request.only != Some(Only::Views);
    let mut lines: Vec<String> = Vec::new();
    let mut say = |text: &str| lines.extend(text.lines().map(|line| line.trim().to_owned()));
    match request.dialect {
        Dialect::Duckdb if has_tables => say(
            "Needs the extension delta. An object store also needs a secret (create secret).
             Run it again after an upgrade of lookback: it replaces what is there.",
        ),
        Dialect::Spark if has_tables => say(
            "Needs Delta Lake in the session (package delta-spark, its extension and its catalog).
             A table that is there already stays as it is. Columns and their comments come from
             the table's own log.",
        ),
        Dialect::Databricks if has_tables => say(
            "Choose the catalog first (use catalog ...). The root needs an external location.
             A table that is there already stays as it is. Columns and their comments come from
             the table's own log.",
        ),
        Dialect::Trino if has_tables => say(
            "Run it in a catalog of the Delta Lake connector (trino --catalog ...) in which
             delta.register-table-procedure.enabled=true.
             register_table refuses a table that is there already. Later, print the views alone
             with --only views. Columns and comments of tables come from the table's own log.",
        ),
        Dialect::Athena if has_tables => say(
            "Athena takes one statement at a time.
             A table that is there already stays as it is. Columns and their comments come from
             the table's own log. Athena keeps no comments on views.",
        ),
        Dialect::Athena => say(
            "Athena takes one statement at a time, and keeps no comments on views.",
        ),
        Dialect::Snowflake if has_tables => say(&format!(
            "Replace YOUR_EXTERNAL_VOLUME and YOUR_CATALOG_INTEGRATION. The volume's
             STORAGE_BASE_URL is {}
             and it has ALLOW_WRITES = FALSE: else Snowflake writes metadata of its own there.
             create catalog integration ... catalog_source = object_store table_format = delta enabled = true
             Choose the database first (use database ...). Columns come from the table's own log;
             the notes on them are in the views, in docs/rules.md and in dbt's sources.yml only.",
            volume(request)
        )),
        Dialect::Bigquery if has_tables => say(
            "Replace YOUR_CONNECTION (project.region.name of a connection that may read the root).
             Columns come from the table's own log; the notes on them are in the views, in
             docs/rules.md and in dbt's sources.yml only.",
        ),
        Dialect::Clickhouse if has_tables => say(
            "Credentials come from the server's configuration. Of local folders a server reads those
             below its user_files_path.
             Run it again after an upgrade of lookback: it replaces what is there.",
        ),
        _ => {}
    }
    if has_tables && request.root.url().scheme() == "az" {
        match request.dialect {
            Dialect::Clickhouse => say("Replace YOUR_CONNECTION_STRING."),
            Dialect::Spark | Dialect::Databricks | Dialect::Trino | Dialect::Bigquery => {
                say("Replace YOUR_ACCOUNT, the storage account.");
            }
            _ => {}
        }
    }
    lines
}

/// The root, as Snowflake's external volumes spell it.
fn volume(request: &Request) -> String {
    let url = match request.root() {
        Root::Local(path) => path,
        Root::Store { scheme, bucket, folder } => match scheme.as_str() {
            "gs" => format!("gcs://{bucket}/{folder}"),
            "az" => format!("azure://YOUR_ACCOUNT.blob.core.windows.net/{bucket}/{folder}"),
            scheme => format!("{scheme}://{bucket}/{folder}"),
        },
    };
    format!("{}/", url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::location::Location;
    use crate::model;

    fn place(root: &str, dialect: Dialect) -> Result<String, Stop> {
        let root = Location::parse(root, Path::new("/jobs")).unwrap();
        let request = Request { root: &root, dialect, prefix: "us_", only: None };
        request.place(model::named("report.orders").unwrap())
    }

    #[test]
    fn each_engine_finds_the_folder_by_its_own_kind_of_name() {
        for (root, dialect, expected) in [
            ("it's here", Dialect::Duckdb, "'/jobs/it''s here/report/orders'"),
            ("it's here", Dialect::Clickhouse, r"DeltaLakeLocal('/jobs/it\'s here/report/orders')"),
            ("/", Dialect::Spark, "'file:///report/orders'"),
            ("s3://acme/a b/", Dialect::Duckdb, "'s3://acme/a b/report/orders'"),
            ("s3://acme", Dialect::Spark, "'s3a://acme/report/orders'"),
            ("s3://acme/lake", Dialect::Databricks, "'s3://acme/lake/report/orders'"),
            ("s3://acme/lake", Dialect::Athena, "'s3://acme/lake/report/orders/'"),
            ("s3://acme/lake", Dialect::Snowflake, "'report/orders'"),
            ("gs://acme/lake", Dialect::Bigquery, "'gs://acme/lake/report/orders'"),
            ("gs://acme/lake", Dialect::Clickhouse, "DeltaLake('gs://acme/lake/report/orders')"),
        ] {
            assert_eq!(place(root, dialect).unwrap(), expected, "{dialect:?}");
        }
    }

    #[test]
    fn a_folder_of_this_machine_is_no_place_for_engines_elsewhere() {
        for dialect in [
            Dialect::Databricks,
            Dialect::Trino,
            Dialect::Athena,
            Dialect::Snowflake,
            Dialect::Bigquery,
        ] {
            let stop = place("warehouse", dialect).unwrap_err();
            assert_eq!(stop.exit_code(), 2, "{stop}");
        }
        assert_eq!(place("gs://acme/lake", Dialect::Athena).unwrap_err().exit_code(), 2);
    }
}
