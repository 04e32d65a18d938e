//! The SQL files: each is a table, and its head says what the table promises.
//!
//! `sql/<layer>/<name>.sql` is the table `<layer>.<name>`. So is `sql/<layer>/steps/<name>.sql`, a
//! step that only serves the tables of its layer. `src/build.rs` lists the files, so adding a table
//! is adding its file.
//!
//! A head is the comment at the top of the file. Its fields are `grain`, `key`, `kind`, `version`,
//! `time`, `split`, `order`, `rule`, `reads`, `params`, `charts`, `columns` and `ratios`. The rest is
//! prose. `tests/models.rs` compares `reads`, `params`, `key`, `split`, `columns` and `ratios` with
//! the query. Refuses to know how models run.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// One SQL file.
#[derive(Debug)]
pub struct Model {
    /// `clean.clicks` for `sql/clean/clicks.sql`.
    pub name: &'static str,
    pub sql: &'static str,
    /// The first line of the head: one sentence.
    pub purpose: String,
    /// Columns that together are unique and not null. Empty where there is no key.
    pub key: Vec<String>,
    /// Whether it is a table of the warehouse. Others are views, temporary tables of a run, or
    /// answers.
    pub is_stored: bool,
    /// Whether it is a view over stored tables, for readers: see [`views`].
    pub is_view: bool,
    /// Whether it is what `lookback report` shows.
    pub is_shown: bool,
    /// Of what is shown: the figures that are drawn day by day. The first one ranks the rows.
    pub charts: Vec<String>,
    /// Of a stored table: changes when the program makes other rows of it from the same inputs, and
    /// not with the text. A date of another version is outdated. `tests/models.rs` asks.
    pub version: Option<String>,
    /// Of a stored table: the time of a row. Its local date is the date on which the row matters to
    /// other tables.
    pub time: Option<String>,
    /// Whether it only serves the tables of its layer.
    pub is_step: bool,
    /// A date, number or boolean column. Rows with the same value are one part, which can be read
    /// or dropped alone.
    pub split: Option<String>,
    /// The plain rule of which this table is a fast form, such as `rule.winning_click`.
    pub rule: Option<String>,
    pub reads: BTreeSet<String>,
    pub params: BTreeSet<String>,
    /// Declared for stored tables, views and what is shown. The first is the partition column of a stored table,
    /// but in reference tables.
    pub columns: Vec<Column>,
    /// What may be divided by what: declared once, by `view.performance`.
    pub ratios: Vec<Ratio>,
    /// The columns of the query's last `order by`.
    pub order: Vec<String>,
    /// Whether rows stay in the order in which they are read.
    pub keeps_order: bool,
}

/// A ratio of two sums. It is the same in each view, report and dashboard, over whatever rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ratio {
    pub name: String,
    /// Columns, or sums of columns, of the view that declares it.
    pub above: String,
    pub below: String,
}

impl Ratio {
    /// `epc = approved_commission / clicks`
    fn parse(text: &str) -> Result<Ratio> {
        let (name, terms) = text.split_once('=').context("a ratio without a name")?;
        let (above, below) = terms.split_once('/').context("a ratio without a division")?;
        let bare = |text: &str| text.trim().trim_matches(['(', ')']).to_owned();
        Ok(Ratio { name: bare(name), above: bare(above), below: bare(below) })
    }

    /// The SQL of the ratio over the rows of a query. The inner cast keeps six decimals in engines
    /// whose quotient has no more of them than what is divided. Null where there is nothing to
    /// divide by.
    pub fn sql(&self) -> String {
        format!(
            "cast(cast(sum({}) as decimal(24, 6)) / nullif(sum({}), 0) as decimal(24, 6))",
            self.above, self.below
        )
    }
}

/// A column of a stored table or a view. Its note is the column's comment in the catalog.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    pub note: String,
}

/// The column types of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Date,
    Text,
    /// Text that is nearly always different.
    Id,
    /// Microseconds since 1970, UTC.
    Instant,
    Count,
    Boolean,
    Decimal(u8, i8),
    /// The text of a JSON object.
    Json,
}

impl ColumnKind {
    fn parse(text: &str) -> Result<ColumnKind> {
        Ok(match text {
            "date" => ColumnKind::Date,
            "text" => ColumnKind::Text,
            "id" => ColumnKind::Id,
            "instant" => ColumnKind::Instant,
            "count" => ColumnKind::Count,
            "boolean" => ColumnKind::Boolean,
            "money" => ColumnKind::Decimal(18, 2),
            "rate" => ColumnKind::Decimal(9, 6),
            "ratio" => ColumnKind::Decimal(24, 6),
            "decimal(18,4)" => ColumnKind::Decimal(18, 4),
            "decimal(18,8)" => ColumnKind::Decimal(18, 8),
            "json" => ColumnKind::Json,
            other => bail!("unknown column type {other}"),
        })
    }

    /// The type's name in SQL, as `docs/rules.md` has it.
    pub fn sql_name(self) -> String {
        match self {
            ColumnKind::Date => "date".to_owned(),
            ColumnKind::Text | ColumnKind::Id | ColumnKind::Json => "string".to_owned(),
            ColumnKind::Instant => "timestamp".to_owned(),
            ColumnKind::Count => "bigint".to_owned(),
            ColumnKind::Boolean => "boolean".to_owned(),
            ColumnKind::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
        }
    }

    /// The Arrow type in memory. Texts are views, which are not copied.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnKind::Date => DataType::Date32,
            ColumnKind::Text | ColumnKind::Id | ColumnKind::Json => DataType::Utf8View,
            ColumnKind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnKind::Count => DataType::Int64,
            ColumnKind::Boolean => DataType::Boolean,
            ColumnKind::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
        }
    }
}

impl Model {
    fn parse(file: &SqlFile) -> Result<Model> {
        let sql = file.sql;
        let mut model = Model {
            name: file.name,
            sql,
            is_step: file.is_step,
            rule: None,
            purpose: String::new(),
            key: Vec::new(),
            is_stored: false,
            is_view: false,
            is_shown: false,
            charts: Vec::new(),
            version: None,
            time: None,
            split: None,
            reads: BTreeSet::new(),
            params: BTreeSet::new(),
            columns: Vec::new(),
            ratios: Vec::new(),
            order: Vec::new(),
            keeps_order: false,
        };
        let head: Vec<&str> =
            sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim_end).collect();
        model.purpose = head.first().map(|line| line.trim().to_owned()).unwrap_or_default();
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(|part| part.trim().to_owned()).collect()
        };
        if let Some((_, order)) = sql.split_once("\norder by ") {
            model.order = list(order);
        }
        let mut list_of = "";
        let mut continued = "";
        for line in head {
            let names = |text: &str| list(&text.trim_end_matches(',').replace('$', ""));
            if !continued.is_empty() {
                let known = if continued == "reads" { &mut model.reads } else { &mut model.params };
                known.extend(names(line));
                continued = if line.ends_with(',') { continued } else { "" };
                continue;
            }
            if let Some(text) = line.strip_prefix("   ").filter(|_| !list_of.is_empty()) {
                match list_of {
                    "columns:" => model.columns.push(column(text)?),
                    _ => model.ratios.push(Ratio::parse(text)?),
                }
                continue;
            }
            list_of = match line.trim() {
                list @ ("columns:" | "ratios:") => list,
                _ => "",
            };
            match line.trim().split_once(':') {
                Some(("key", text)) => model.key = list(text),
                Some(("kind", text)) => match text.trim() {
                    "stored" => model.is_stored = true,
                    "view" => model.is_view = true,
                    "shown" => model.is_shown = true,
                    "temporary" => {}
                    other => bail!("unknown kind {other}"),
                },
                Some(("version", text)) => model.version = Some(text.trim().to_owned()),
                Some(("time", text)) => model.time = Some(text.trim().to_owned()),
                Some(("rule", text)) => model.rule = Some(format!("rule.{}", text.trim())),
                Some(("split", text)) => model.split = Some(text.trim().to_owned()),
                Some(("order", text)) => model.keeps_order = text.trim() == "as read",
                Some(("charts", text)) => model.charts = list(text),
                Some((name @ ("reads" | "params"), text)) => {
                    let known = if name == "reads" { &mut model.reads } else { &mut model.params };
                    known.extend(names(text));
                    continued = if text.ends_with(',') { name } else { "" };
                }
                _ => {}
            }
        }
        Ok(model)
    }

    /// The partition column of a stored table. Reference tables have none.
    pub fn partition(&self) -> Option<&str> {
        let first = self.columns.first().filter(|_| self.layer() != "reference");
        first.map(|column| column.name.as_str())
    }

    /// The columns that a stored table's files have: all but the partition column, which is in
    /// their paths.
    pub fn file_columns(&self) -> &[Column] {
        &self.columns[usize::from(self.partition().is_some())..]
    }

    /// The schema of a stored table's files.
    pub fn file_schema(&self) -> SchemaRef {
        schema_of(self.file_columns())
    }

    /// `report` for `report.orders`.
    pub fn layer(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// `report/orders` for `report.orders`: the table's folder below the root.
    pub fn folder(&self) -> String {
        self.name.replace('.', "/")
    }

    /// All declared columns.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields =
        columns.iter().map(|column| Field::new(&column.name, column.kind.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `click_id  text  the log's own id`
fn column(text: &str) -> Result<Column> {
    let mut words = text.split_whitespace();
    let name = words.next().context("a column without a name")?.to_owned();
    let kind = ColumnKind::parse(words.next().context("a column without a type")?)?;
    Ok(Column { name, kind, note: words.collect::<Vec<_>>().join(" ") })
}

/// An SQL file, as `src/build.rs` found it.
struct SqlFile {
    name: &'static str,
    is_step: bool,
    sql: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/sql_files.rs"));

/// The layers, in the order of [`all`].
const LAYERS: [&str; 13] = [
    "reference",
    "clean",
    "attribution",
    "report",
    "view",
    "show",
    "rule",
    "limits",
    "audit",
    "summary",
    "explain",
    "stale",
    "check",
];

static MODELS: LazyLock<Result<Vec<Model>>> = LazyLock::new(|| {
    let parse =
        |file: &SqlFile| Model::parse(file).with_context(|| format!("sql file of {}", file.name));
    let mut models = SQL_FILES.iter().map(parse).collect::<Result<Vec<_>>>()?;
    models.sort_by_key(|model| LAYERS.iter().position(|layer| *layer == model.layer()));
    Ok(models)
});

/// All models, layer by layer. Errors: a head that cannot be read, which a test rules out.
pub fn all() -> Result<&'static [Model]> {
    match &*MODELS {
        Ok(models) => Ok(models),
        Err(error) => bail!("{error:#}"),
    }
}

/// The model of a table, by its name (`clean.clicks`). Errors: no such model.
pub fn named(name: &str) -> Result<&'static Model> {
    all()?.iter().find(|model| model.name == name).with_context(|| format!("no model {name}"))
}

/// The tables of the warehouse.
pub fn stored() -> Result<Vec<&'static Model>> {
    Ok(all()?.iter().filter(|model| model.is_stored).collect())
}

/// The views over the tables of the warehouse, in plain SQL that other engines run as well. Each
/// comes after the views that it reads.
pub fn views() -> Result<Vec<&'static Model>> {
    let mut views: Vec<_> = all()?.iter().filter(|model| model.is_view).collect();
    views.sort_by_key(|model| model.reads.iter().any(|read| read.starts_with("view.")));
    Ok(views)
}

/// What a reader's query may name: the stored tables, then the views.
pub fn readable() -> Result<Vec<&'static Model>> {
    Ok(stored()?.into_iter().chain(views()?).collect())
}

/// The models of a layer, sorted by name, steps last.
pub fn layer(layer: &str) -> Result<Vec<&'static Model>> {
    Ok(all()?.iter().filter(|model| model.layer() == layer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_temporary_and_its_layer_is_known() {
        for model in all().unwrap() {
            assert!(LAYERS.contains(&model.layer()), "{}", model.name);
            assert!(!(model.is_step && model.is_stored), "{}", model.name);
        }
    }

    #[test]
    fn a_fast_form_names_a_plain_rule() {
        for model in all().unwrap() {
            if let Some(rule) = &model.rule {
                let rule = named(rule).unwrap();
                assert!(model.layer() != "rule" && rule.columns.is_empty(), "{}", model.name);
            }
        }
    }

    #[test]
    fn keys_are_columns_and_stored_tables_and_views_declare_theirs() {
        for model in all().unwrap() {
            let is_read = model.is_stored || model.is_view || model.is_shown;
            assert_eq!(is_read, !model.columns.is_empty(), "{}", model.name);
            assert_eq!(model.is_view, model.layer() == "view", "{}", model.name);
            assert_eq!(model.is_shown, model.layer() == "show", "{}", model.name);
            assert_eq!(model.is_stored, model.version.is_some(), "{}", model.name);
            for key in &model.key {
                let is_column = model.columns.iter().any(|column| &column.name == key);
                assert!(is_column || !is_read, "{}: {key}", model.name);
            }
        }
    }

    /// [`views`] sorts by whether a view reads views.
    #[test]
    fn views_read_stored_tables_or_views_that_do() {
        for model in views().unwrap() {
            for read in model.reads.iter().map(|read| named(read).unwrap()) {
                let reads_views = read.reads.iter().any(|read| read.starts_with("view."));
                assert!(read.is_stored || read.is_view && !reads_views, "{}", model.name);
            }
        }
    }
}
