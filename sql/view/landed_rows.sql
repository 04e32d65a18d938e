-- Raw rows by the date they landed, valid ones and rejected ones.
--
-- grain:  one row per landing date, log and reason
-- key:    dt, log, reason
-- kind:   view
-- reads:  clean.clicks, clean.order_events, clean.rejects
-- columns:
--   dt             date   UTC landing date
--   log            text   clicks or orders
--   reason         text   why the rows were rejected, or (none) where they are valid
--   raw_rows       count  rows of the raw log
--   rejected_rows  count  rejected rows, duplicates aside
-- ratios:
--   rejected_share = rejected_rows / raw_rows
--
-- Duplicates are rows that were delivered twice. They are in `raw_rows`, as in rule Q1.
with landed as (
    select dt, 'clicks' as log, '(none)' as reason, count(*) as raw_rows
    from clean.clicks
    group by dt
    union all
    select dt, 'orders' as log, '(none)' as reason, count(*) as raw_rows
    from clean.order_events
    group by dt
    union all
    select dt, log, reason, count(*) as raw_rows
    from clean.rejects
    group by dt, log, reason
)

select
    dt,
    log,
    reason,
    raw_rows,
    case when reason in ('(none)', 'duplicate') then 0 else raw_rows end as rejected_rows
from landed
