-- Hashes of ids that may occur more than once: only rows with such an id can be duplicates.
--
-- grain:  one row per hash
-- kind:   temporary
-- rule:   duplicate_rows
-- reads:  raw.clicks, raw.orders, clean.clicks, clean.order_events, clean.rejects
-- params: $log
--
-- Two ids share a hash very rarely. A later step compares the ids themselves, so an extra hash
-- changes no result.
--
-- Landing dates that are clean already add the ids of their valid rows: clean rows and duplicates.
-- Each log is cleaned in its own session, in which the other log has no rows.
with known as (
    select click_id as row_id from clean.clicks
    union all
    select event_id as row_id from clean.order_events
    union all
    select row_id from clean.rejects where log = $log and reason = 'duplicate'
),

ids as (
    select click_id as row_id from raw.clicks
    union all
    select event_id as row_id from raw.orders
    union all
    select row_id from known
)

select unnest(duplicated_values(hash64(row_id))) as id_hash
from ids
