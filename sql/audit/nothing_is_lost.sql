-- In each landing date and log, the raw rows are the clean rows and the rejected ones (C4).
--
-- reads:  raw.row_counts, clean.clicks, clean.order_events, clean.rejects
with written as (
    select dt, 'clicks' as log from clean.clicks
    union all
    select dt, 'orders' as log from clean.order_events
    union all
    select dt, log from clean.rejects
),

written_counts as (
    select dt, log, count(*) as written_rows from written group by dt, log
),

raw_counts as (
    select dt, log, raw_rows from raw.row_counts
)

select
    raw_counts.log,
    raw_counts.dt,
    raw_counts.raw_rows,
    coalesce(written_counts.written_rows, 0) as written_rows
from raw_counts
left join written_counts
    on raw_counts.dt = written_counts.dt
    and raw_counts.log = written_counts.log
where raw_counts.raw_rows <> coalesce(written_counts.written_rows, 0)
order by raw_counts.log, raw_counts.dt
