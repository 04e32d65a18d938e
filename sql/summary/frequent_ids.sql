-- Buyers and visitors in more than so many clean rows of a landing date.
--
-- reads:  clean.clicks, clean.order_events
-- params: $more_than
--
-- Only rows of large buckets (see summary.ids_by_bucket) are counted by id: there are few of these.
with ids as (
    select 'clicks' as log, dt, 'buyer' as who, buyer_id as id, hash64(buyer_id) & 1023 as bucket
    from clean.clicks
    union all
    select 'clicks', dt, 'visitor', visitor_id, hash64(visitor_id) & 1023
    from clean.clicks
    union all
    select 'orders', dt, 'buyer', buyer_id, hash64(buyer_id) & 1023
    from clean.order_events
    union all
    select 'orders', dt, 'visitor', visitor_id, hash64(visitor_id) & 1023
    from clean.order_events
),

large_buckets as (
    select log, who, dt, bucket
    from ids
    where id is not null
    group by log, who, dt, bucket
    having count(*) > $more_than
)

select ids.log, ids.who, ids.id, ids.dt, count(*) as rows
from ids
inner join large_buckets
    on ids.log = large_buckets.log
    and ids.who = large_buckets.who
    and ids.dt = large_buckets.dt
    and ids.bucket = large_buckets.bucket
group by ids.log, ids.who, ids.id, ids.dt
having count(*) > $more_than
order by log, who, id, dt
