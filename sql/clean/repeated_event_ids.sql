-- Ids that may be there more than once, as numbers: only rows with such an id can be duplicates.
--
-- grain:  one row per number
-- kept:   for the run
-- reads:  raw.orders, clean.order_events, clean.rejects
--
-- Two ids may share a number, once in a great while. Whether a row is a duplicate is decided by
-- its id, later, so that a number too many costs a moment and changes nothing.
with new as (
    select event_id
    from raw.orders
    where event_id is not null
),

-- Ids that were valid on landing dates that are clean already: those kept, and their
-- duplicates.
known as (
    select event_id from clean.order_events
    union all
    select row_id as event_id
    from clean.rejects
    where log = 'orders' and reason = 'duplicate'
),

ids as (
    select event_id from new
    union all
    select event_id from known
),

numbers as (
    select hash64(event_id) as id_number
    from ids
)

select id_number
from numbers
group by id_number
having count(*) > 1
