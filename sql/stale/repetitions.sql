-- Valid rows that repeat the id of a row that turned valid or invalid: duplicates or not (C3).
--
-- grain:  one row per landing date and turned row
-- kind:   temporary
-- reads:  stale.turned, clean.clicks, clean.order_events, clean.rejects
-- params: $log, $dedup_days
with valid as (
    select dt, click_id as row_id from clean.clicks
    union all
    select dt, event_id as row_id from clean.order_events
    union all
    select dt, row_id from clean.rejects where log = $log and reason = 'duplicate'
)

select distinct
    valid.dt,
    turned.key,
    turned.dt as turned_dt
from stale.turned as turned
inner join valid
    on turned.row_id = valid.row_id
    and valid.dt > turned.dt
    and valid.dt <= turned.dt + cast($dedup_days as interval)
