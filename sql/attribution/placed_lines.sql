-- The placed events that count, of the order dates to make.
--
-- grain:  one row per order line placed
-- kept:   for the run
-- reads:  clean.order_events
-- params: $from, $to, $horizon, $scope
--
-- A line is placed once. A second placed event within the horizon is a repetition and does
-- not count, nor does one that repeats a repetition (A5): what matters is the placed event
-- just before, whether or not that one counted.
with placed as (
    select
        event_id,
        event_at as placed_at,
        order_id,
        line_id,
        buyer_id,
        store_id,
        product_id,
        category_id,
        country,
        amount,
        lag(event_at) over (
            partition by order_id, line_id
            order by event_at, event_id
        ) as previous_placed_at
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from - $horizon
        and event_at < $to
)

select
    event_id,
    placed_at,
    order_id,
    line_id,
    buyer_id,
    store_id,
    product_id,
    category_id,
    country,
    amount,
    case when $scope = 'store' then store_id else '' end as scope_key
from placed
where placed_at >= $from
    and (previous_placed_at is null or previous_placed_at < placed_at - $horizon)
