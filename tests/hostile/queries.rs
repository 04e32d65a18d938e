//! Queries that want more than to read the tables.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::raw_files::raw_file;
use crate::{TIME_LIMIT, backfill, is_panic, landing, lookback, stderr, write_job};

/// Everything below a folder with its content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => contents.extend(self::contents(&path)),
            false => drop(contents.insert(path.clone(), std::fs::read(path).unwrap())),
        }
    }
    contents
}

#[test]
fn a_query_cannot_write_read_other_files_or_reach_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_job(folder, &[["key", "acorn", ""]], &["shop"]);
    let mut dice = Pcg64Mcg::seed_from_u64(0);
    for log in ["clicks", "orders"] {
        let file = raw_file(log, "row", &mut dice);
        std::fs::write(landing(folder, log).join("part-0.parquet"), file).unwrap();
    }
    let run = backfill(folder).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let before = contents(folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());

    let raw = landing(folder, "clicks").join("part-0.parquet").display().to_string();
    let statements = format!(
        "
        copy report.orders to 'stolen.csv'
        copy (select * from report.orders) to 'stolen.parquet' stored as parquet
        copy report.orders to 's3://bucket/stolen.parquet'
        copy report.orders to '{server}/stolen.csv'
        explain copy report.orders to 'stolen.csv'
        explain analyze copy report.orders to 'stolen.csv'
        explain analyze verbose insert into report.orders select * from report.orders
        explain analyze create table x as select 1
        insert into report.orders select * from report.orders
        insert overwrite report.orders select * from report.orders
        with x as (insert into report.orders select * from report.orders) select * from x
        update report.orders set store_id = 'x'
        delete from report.orders
        truncate table report.orders
        merge into report.orders using report.refunds on true when matched then delete
        create table x as select 1 as one
        create temporary table x as select 1 as one
        select 1 as one into x
        create view x as select 1 as one
        create schema x
        create database x
        create external table x stored as csv location 'links.csv'
        create external table x stored as parquet location '{raw}'
        create external table x stored as csv location '{server}/x.csv'
        create unbounded external table x (a int) stored as csv location 'stolen.csv'
        create function f(int) returns int language sql return $1
        drop table report.orders
        drop schema report cascade
        alter table report.orders add column x int
        set datafusion.execution.batch_size = 1
        set datafusion.catalog.information_schema = true
        set datafusion.catalog.location = '/'
        reset datafusion.execution.batch_size
        show all
        show columns from report.orders
        select * from information_schema.tables
        select * from information_schema.df_settings
        use report
        begin
        commit
        prepare p as select 1
        execute p
        deallocate p
        prepare p as copy report.orders to 'stolen.csv'
        select 1; select 2
        select 1; copy report.orders to 'stolen.csv'
        load 'x'
        install httpfs
        attach 'x.db' as x
        call f()
        vacuum
        select * from '/etc/passwd'
        select * from \"/etc/passwd\"
        select * from '/etc'
        select * from 'links.csv'
        select * from \"links.csv\"
        select * from './links.csv'
        select * from 'job.toml'
        select * from '{raw}'
        select * from \"{raw}\"
        select * from \"file://{raw}\"
        select * from \"warehouse/report/orders\"
        select * from raw.clicks
        select * from input.links
        select * from (select * from 'links.csv') as x
        select (select count(*) from 'links.csv') as x
        with x as (select * from 'links.csv') select * from x
        select * from report.orders union all select * from 'links.csv'
        select * from report.orders where exists (select 1 from 'links.csv')
        select * from read_parquet('{raw}')
        select * from read_csv('links.csv')
        select * from read_json('links.csv')
        select * from parquet_scan('{raw}')
        select * from parquet_metadata('{raw}')
        select * from metadata_cache()
        select * from delta_scan('warehouse/report/orders')
        select * from glob('*')
        select * from url('{server}/x.csv')
        select read_text('links.csv')
        select load_file('/etc/passwd')
        select pg_read_file('/etc/passwd')
        select getenv('HOME')
        select system('touch stolen.csv')
        select http_get('{server}/x')
        select * from \"s3://bucket/x.parquet\"
        select * from 's3://bucket/x.parquet'
        select * from \"gs://bucket/x.parquet\"
        select * from \"az://container/x.parquet\"
        select * from \"{server}/x.csv\"
        select * from '{server}/x.parquet'
        select * from read_parquet('{server}/x.parquet')
        select * from read_parquet('s3://bucket/x.parquet')
        "
    );
    let statements: Vec<&str> =
        statements.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for sql in &statements {
        let mut command = lookback(folder, &["query", "job.toml", sql]);
        // A query that asked an object store would ask the listener.
        command.env("AWS_ENDPOINT", &server).env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.env("http_proxy", &server).env("https_proxy", &server).env("all_proxy", &server);
        let refused = command.timeout(TIME_LIMIT).output().unwrap();
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{sql}: {told}");
        assert!(told.starts_with("error: query: ") && !is_panic(&told), "{sql}: {told}");
        assert!(refused.stdout.is_empty(), "{sql}: {}", String::from_utf8_lossy(&refused.stdout));
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(before == contents(folder));
}
