-- Which placed event of an order line counts: one, and no other within the horizon after it (A5).
--
-- grain:  one row per placed event
-- kind:   temporary
-- reads:  clean.order_events
-- params: $horizon
--
-- A shop may report the same order line as placed more than once. A placed event counts unless its
-- line has another placed event in the horizon before it, or one at the same instant with a smaller
-- id. The other event need not count itself.
with placed as (
    select
        order_id, line_id, event_id, event_at as placed_at, buyer_id, store_id, product_id,
        category_id,
        lag(event_id) over earlier as previous_event_id,
        lag(event_at) over earlier as previous_placed_at
    from clean.order_events
    where event_type = 'placed'
    window earlier as (partition by order_id, line_id order by event_at, event_id)
)

select
    placed.*,
    coalesce(previous_placed_at < placed_at - cast($horizon as interval), true) as is_counting
from placed
