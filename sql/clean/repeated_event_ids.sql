-- Ids that are there more than once: only their rows can be duplicates.
--
-- grain:  one row per id
-- kept:   for the run
-- reads:  raw.orders, clean.order_events, clean.rejects
-- params: $first_dt
with new as (
    select event_id
    from raw.orders
    where event_id is not null
),

-- Ids that were valid on landing dates cleaned before: those kept, and their duplicates.
known as (
    select event_id from clean.order_events where dt < $first_dt
    union all
    select row_id as event_id
    from clean.rejects
    where log = 'orders' and reason = 'duplicate' and dt < $first_dt
)

select event_id
from new
group by event_id
having count(*) > 1
union
select event_id
from known
where event_id in (select event_id from new)
