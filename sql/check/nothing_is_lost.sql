-- Per landing date and log, the raw rows are the clean rows and the rejected ones (C4).
--
-- reads:  raw.row_counts, clean.clicks, clean.order_events, clean.rejects
with counted as (
    select dt, 'clicks' as log, count(*) as kept from clean.clicks group by dt
    union all
    select dt, 'orders' as log, count(*) as kept from clean.order_events group by dt
    union all
    select dt, log, count(*) as kept from clean.rejects group by dt, log
),

kept as (
    select dt, log, sum(kept) as kept_rows from counted group by dt, log
),

raw_counts as (
    select dt, log, raw_rows from raw.row_counts
)

select
    raw_counts.log,
    raw_counts.dt,
    raw_counts.raw_rows,
    coalesce(kept.kept_rows, 0) as kept_rows
from raw_counts
left join kept
    on raw_counts.dt = kept.dt
    and raw_counts.log = kept.log
where raw_counts.raw_rows <> coalesce(kept.kept_rows, 0)
order by raw_counts.log, raw_counts.dt
