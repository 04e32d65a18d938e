-- The valid rows of one id on some landing dates, for the rule about duplicates (C3).
--
-- kind:   temporary
-- reads:  clean.clicks, clean.order_events, clean.rejects
-- params: $log, $row_id, $first_dt, $last_dt
--
-- The clean row of an id and date comes first. Its duplicates of that date repeat it.
with valid_rows as (
    select 'clicks' as log, dt, click_id as row_id, 1 as position
    from clean.clicks
    union all
    select 'orders' as log, dt, event_id as row_id, 1 as position
    from clean.order_events
    union all
    select log, dt, row_id, 2 as position
    from clean.rejects
    where reason = 'duplicate'
)

select log, dt, row_id, position
from valid_rows
where log = $log
    and row_id = $row_id
    and dt >= $first_dt
    and dt <= $last_dt
