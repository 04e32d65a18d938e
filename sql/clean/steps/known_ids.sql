-- Valid rows, on landing dates that are clean already, whose id may occur more than once.
--
-- grain:  one row per row that was valid, a clean row or a duplicate
-- kind:   temporary
-- rule:   duplicate_rows
-- reads:  clean.repeated_ids, clean.clicks, clean.order_events, clean.rejects
-- params: $log
with repeated as (
    select id_hash
    from clean.repeated_ids
),

known as (
    select dt, click_id as row_id from clean.clicks
    union all
    select dt, event_id as row_id from clean.order_events
    union all
    select dt, row_id from clean.rejects where log = $log and reason = 'duplicate'
)

select dt, row_id
from known
where hash64(row_id) in (select id_hash from repeated)
