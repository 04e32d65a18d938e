-- How many clean rows of some landing dates name a buyer or a visitor.
--
-- reads:  clean.clicks, clean.order_events
--
-- rows_in_a_bucket: no id is in more rows. Ids are put into 1,024 buckets, and the rows of the
-- largest bucket are counted, because counting rows by id takes much longer.
with ids as (
    select 'clicks' as log, dt, 'buyer' as who, hash64(buyer_id) & 1023 as bucket, count(*) as rows
    from clean.clicks
    where buyer_id is not null
    group by dt, hash64(buyer_id) & 1023
    union all
    select 'clicks', dt, 'visitor', hash64(visitor_id) & 1023, count(*)
    from clean.clicks
    where visitor_id is not null
    group by dt, hash64(visitor_id) & 1023
    union all
    select 'orders', dt, 'buyer', hash64(buyer_id) & 1023, count(*)
    from clean.order_events
    where buyer_id is not null
    group by dt, hash64(buyer_id) & 1023
    union all
    select 'orders', dt, 'visitor', hash64(visitor_id) & 1023, count(*)
    from clean.order_events
    where visitor_id is not null
    group by dt, hash64(visitor_id) & 1023
)

select
    log,
    who,
    dt,
    sum(rows) as rows,
    max(rows) as rows_in_a_bucket
from ids
group by log, who, dt
order by log, who, dt
