-- Ids of landing dates that are clean already, of those that may be there more than once.
--
-- grain:  one row per row that was valid, kept or a duplicate
-- kept:   for the run
-- reads:  clean.repeated_event_ids, clean.order_events, clean.rejects
with repeated as (
    select id_number
    from clean.repeated_event_ids
),

known as (
    select dt, event_id from clean.order_events
    union all
    select dt, row_id as event_id
    from clean.rejects
    where log = 'orders' and reason = 'duplicate'
)

select dt, event_id
from known
where hash64(event_id) in (select id_number from repeated)
