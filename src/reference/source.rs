//! What lies at a reference table's location: a file, a folder of files or a Delta table; and whether
//! it is what was read before (D8).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use object_store::{Error, ObjectMeta, ObjectStoreExt};

use super::sheet::{Constants, Content, Ending, FileContent, ending_of};
use super::{TABLES, TableSource, source_of};
use crate::engine::footer;
use crate::job::Job;
use crate::location::{Location, in_parallel, is_of_store};
use crate::warehouse::{SourceFile, live_files};

/// A change of how files are read. A file that was read in another way is read again.
const VERSION: u32 = 1;

/// Files up to this size are read whole, because a second request takes longer than the rest.
const SMALL: u64 = 1 << 20;

/// The folder of a Delta table's log.
const DELTA_LOG: &str = "_delta_log";

/// What the stores say about a job's reference tables. It can be asked before anything else is known.
pub struct Heads(BTreeMap<&'static str, Head>);

/// What lies at a location.
#[derive(Debug)]
pub enum Head {
    File(ObjectMeta),
    Folder(Folder),
    /// The objects of the table's log.
    Delta(Vec<ObjectMeta>),
}

/// A folder of files that are one table.
#[derive(Debug, Default)]
pub struct Folder {
    files: Vec<ObjectMeta>,
    /// The names of objects that are none of the table's.
    others: Vec<String>,
    folders: Vec<String>,
}

impl Heads {
    /// Errors: a store fails.
    pub async fn ask(job: &Job) -> Result<Heads> {
        let heads = TABLES.map(async |name| {
            let head = match source_of(job, name) {
                Some(source) => look(&source.location).await?,
                None => None,
            };
            anyhow::Ok(head.map(|head| (name, head)))
        });
        Ok(Heads(try_join_all(heads).await?.into_iter().flatten().collect()))
    }

    /// None where there is nothing.
    pub fn of(&self, name: &str) -> Option<&Head> {
        self.0.get(name)
    }

    /// What lies in the tables' folders and is not read (B5), one text for each folder.
    pub fn unread(&self, job: &Job) -> Vec<String> {
        let unread = self.0.iter().filter_map(|(name, head)| {
            let (Head::Folder(folder), Some(source)) = (head, source_of(job, name)) else {
                return None;
            };
            let unread = folder.unread();
            let others = match unread.len() {
                0 => return None,
                1 => String::new(),
                2 => " and 1 other".to_owned(),
                count => format!(" and {} others", count - 1),
            };
            Some(format!(
                "{}: {}{others} ([input] {name} is made of the .csv and .parquet files in the \
                 folder itself)",
                source.location, unread[0]
            ))
        });
        unread.collect()
    }
}

/// One request where the name says what it is: a folder's has no ending, or a slash at its end.
pub async fn look(location: &Location) -> Result<Option<Head>> {
    let name = location.path().filename().unwrap_or_default();
    let is_file_by_name = ending_of(name).is_some() && !location.name().ends_with('/');
    let is_asked_first = is_file_by_name || location.local_path().is_some();
    let head = async || anyhow::Ok(location.head().await?.map(Head::File));
    if is_asked_first && let Some(file) = head().await? {
        return Ok(Some(file));
    }
    let (objects, folders) = location.list().await?;
    if folders.iter().any(|folder| folder == DELTA_LOG) {
        let (log, _) = location.child(DELTA_LOG).list().await?;
        return Ok(Some(Head::Delta(log)));
    }
    let folder = Folder::of(location, objects, folders);
    if !folder.is_empty() {
        return Ok(Some(Head::Folder(folder)));
    }
    if is_asked_first { Ok(None) } else { head().await }
}

impl Folder {
    fn of(location: &Location, objects: Vec<ObjectMeta>, folders: Vec<String>) -> Folder {
        let mut folder = Folder { folders, ..Folder::default() };
        // Some tools mark a folder by an object with the folder's own name.
        for object in objects.into_iter().filter(|object| object.location != *location.path()) {
            let name = name_of(&object);
            match ending_of(name) {
                _ if is_hidden(name) => folder.others.push(name.to_owned()),
                Some(_) => folder.files.push(object),
                None => folder.others.push(name.to_owned()),
            }
        }
        folder
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.others.is_empty() && self.folders.is_empty()
    }

    /// Why it is no table.
    fn complaint(&self) -> Option<String> {
        if self.folders.iter().any(|folder| folder == ".hoodie") {
            let trouble = "is a Hudi table, which is not read; export its rows as CSV or Parquet";
            return Some(trouble.to_owned());
        }
        if !self.files.is_empty() {
            return None;
        }
        Some(match self.unread().first() {
            Some(first) => {
                format!("has no .csv or .parquet file in the folder itself, but {first}")
            }
            None => "has no .csv or .parquet file in it".to_owned(),
        })
    }

    /// What lies there and is not read (B5): folders, and objects that are no data by their names.
    fn unread(&self) -> Vec<&str> {
        let names = self.folders.iter().chain(&self.others).map(String::as_str);
        names.filter(|name| !is_hidden(name)).collect()
    }
}

/// What is no data by its name.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

fn name_of(object: &ObjectMeta) -> &str {
    object.location.filename().unwrap_or_default()
}

pub enum Found {
    /// There is nothing.
    Missing,
    /// It is no table. The complaint does not name the location.
    Refused(String),
    /// The same as before, perhaps copied.
    Unchanged(SourceFile),
    Changed(SourceFile, Content),
}

/// The settings that bear on how a reference table is read.
pub fn settings(job: &Job, source: &TableSource) -> String {
    let mut settings = format!("version={VERSION} time_zone={} nobody={:?}", job.zone, job.nobody);
    let shape = source.shape.setting();
    if !shape.is_empty() {
        settings.push(' ');
        settings.push_str(&shape);
    }
    settings
}

/// Looks for a table. Reads it only if it is not the one of `before`. Errors: the store fails.
pub async fn find(
    location: &Location,
    head: Option<&Head>,
    before: Option<&SourceFile>,
    settings: &str,
) -> Result<Found> {
    match head {
        None => {
            // Reading tells a missing bucket from a missing object.
            location.read().await?;
            Ok(Found::Missing)
        }
        Some(Head::File(head)) => find_file(location, head, before, settings).await,
        Some(Head::Folder(folder)) => find_folder(location, folder, before, settings).await,
        Some(Head::Delta(log)) => find_delta(location, log, before, settings).await,
    }
}

async fn find_folder(
    location: &Location,
    folder: &Folder,
    before: Option<&SourceFile>,
    settings: &str,
) -> Result<Found> {
    if let Some(complaint) = folder.complaint() {
        return Ok(Found::Refused(complaint));
    }
    let mut source = source(location, settings);
    source.size = folder.files.iter().map(|file| file.size).sum();
    source.tag = digest_of_each(&folder.files);
    if let Some(before) = before.filter(|before| is_alike(before, &source))
        && before.tag == source.tag
    {
        source.content = before.content.clone();
        return Ok(Found::Unchanged(source));
    }
    let names =
        folder.files.iter().map(|file| (name_of(file).to_owned(), Constants::new())).collect();
    let (files, sizes) = read_each(location, names).await?;
    // Files may have been replaced since they were listed. Then the next run finds other tags.
    source.size = sizes.iter().map(|size| *size as u64).sum();
    let contents = files.iter().map(|file| {
        let content = content_of(&file.name, &file.bytes);
        format!("{} {} {content}", file.name, file.bytes.len())
    });
    source.content = digest(contents.collect::<Vec<_>>().join("\n").as_bytes());
    Ok(changed(source, before, Content { files, is_delta: false }))
}

async fn find_delta(
    location: &Location,
    log: &[ObjectMeta],
    before: Option<&SourceFile>,
    settings: &str,
) -> Result<Found> {
    let mut source = source(location, settings);
    source.tag = digest_of_each(log);
    if let Some(before) = before.filter(|before| is_alike(before, &source))
        && before.tag == source.tag
    {
        source.content = before.content.clone();
        return Ok(Found::Unchanged(source));
    }
    let live = match live_files(location).await {
        Ok(live) => live,
        Err(error) if is_of_store(&error) => {
            return Err(error.context(format!("{location}: cannot read the Delta table")));
        }
        Err(error) => {
            let trouble = format!("is a Delta table that cannot be read: {error:#}");
            return Ok(Found::Refused(trouble));
        }
    };
    // A file of the table never changes: its name stands for its content.
    let names = live.iter().map(|file| format!("{} {}", file.path, file.meta.size));
    let mut names: Vec<String> = names.collect();
    names.sort();
    source.content = digest(names.join("\n").as_bytes());
    if before.is_some_and(|before| is_same(before, &source)) {
        return Ok(Found::Unchanged(source));
    }
    let mut files: Vec<_> = live
        .into_iter()
        .map(|file| (file.path, file.partition.into_iter().collect::<Constants>()))
        .collect();
    files.sort();
    let (files, _) = read_each(location, files).await?;
    Ok(Found::Changed(source, Content { files, is_delta: true }))
}

/// Reads files by their names below the location. With their sizes.
async fn read_each(
    location: &Location,
    files: Vec<(String, Constants)>,
) -> Result<(Vec<FileContent>, Vec<usize>)> {
    let files = in_parallel(files, async |(name, constants)| {
        let file = location.child(&name);
        let bytes = file.read().await?;
        let bytes = bytes.with_context(|| format!("{file}: was removed while the run read it"))?;
        Ok(FileContent { name, is_in_folder: true, bytes, constants })
    });
    let files = files.await?;
    let sizes = files.iter().map(|file| file.bytes.len()).collect();
    Ok((files, sizes))
}

/// Reads a file whole only if it is not the one of `before`.
async fn find_file(
    location: &Location,
    head: &ObjectMeta,
    before: Option<&SourceFile>,
    settings: &str,
) -> Result<Found> {
    let mut source = source_of_file(location, head, settings);
    let likely = before.filter(|before| is_alike(before, &source));
    if let Some(before) = likely.filter(|before| before.tag == source.tag) {
        source.content = before.content.clone();
        return Ok(Found::Unchanged(source));
    }
    if let Some(before) = likely.filter(|_| is_parquet(&source.name) && SMALL < head.size) {
        let footer = footer::read(location.store().as_ref(), location.path(), head.size).await;
        source.content = digest(&footer.with_context(|| format!("{location}: cannot read"))?);
        if before.content == source.content {
            return Ok(Found::Unchanged(source));
        }
    }
    let Some((head, bytes)) = read(location).await? else { return Ok(Found::Missing) };
    // It may have been replaced since.
    let mut source = source_of_file(location, &head, settings);
    source.content = content_of(&source.name, &bytes);
    let file = FileContent {
        name: source.name.clone(),
        is_in_folder: false,
        bytes,
        constants: Vec::new(),
    };
    Ok(changed(source, before, Content { files: vec![file], is_delta: false }))
}

fn changed(source: SourceFile, before: Option<&SourceFile>, content: Content) -> Found {
    match before.is_some_and(|before| is_same(before, &source)) {
        true => Found::Unchanged(source),
        false => Found::Changed(source, content),
    }
}

fn source_of_file(location: &Location, head: &ObjectMeta, settings: &str) -> SourceFile {
    SourceFile { size: head.size, tag: tag_of(head), ..source(location, settings) }
}

/// A table of which nothing is known yet.
fn source(location: &Location, settings: &str) -> SourceFile {
    SourceFile {
        name: location.path().filename().unwrap_or_default().to_owned(),
        size: 0,
        tag: String::new(),
        content: String::new(),
        settings: settings.to_owned(),
    }
}

/// What the store says about the bytes of an object: its tag, else when it was written.
fn tag_of(object: &ObjectMeta) -> String {
    object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339())
}

fn is_alike(one: &SourceFile, other: &SourceFile) -> bool {
    (&one.name, one.size, &one.settings) == (&other.name, other.size, &other.settings)
}

fn is_same(one: &SourceFile, other: &SourceFile) -> bool {
    is_alike(one, other) && one.content == other.content
}

/// Of a Parquet file the footer stands for the content: it describes the rest.
fn content_of(name: &str, bytes: &Bytes) -> String {
    match is_parquet(name) {
        true => digest(&footer::of(bytes)),
        false => digest(bytes),
    }
}

fn is_parquet(name: &str) -> bool {
    ending_of(name) == Some(Ending::Parquet)
}

/// The object and what the store says about it. None: there is none.
async fn read(location: &Location) -> Result<Option<(ObjectMeta, Bytes)>> {
    let read = async {
        let found = location.store().get(location.path()).await?;
        Ok((found.meta.clone(), found.bytes().await?))
    };
    match read.await {
        Err(Error::NotFound { .. }) => Ok(None),
        found => Ok(Some(found.with_context(|| format!("{location}: cannot read"))?)),
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..32].to_owned()
}

/// A digest of what a listing says.
fn digest_of_each(objects: &[ObjectMeta]) -> String {
    let each = objects
        .iter()
        .map(|object| format!("{} {} {}", name_of(object), object.size, tag_of(object)));
    digest(each.collect::<Vec<_>>().join("\n").as_bytes())
}
