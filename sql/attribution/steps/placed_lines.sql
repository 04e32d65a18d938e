-- The placed events that count, in the order dates to make.
--
-- grain:  one row per order line placed
-- kind:   temporary
-- rule:   one_placed_event
-- reads:  clean.order_events, attribution.repeated_placed_events
-- params: $from, $to, $scope
--
-- line_key is a number for the order line, valid in this run only. Joins on it are cheaper than
-- joins on two texts.
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
        amount
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from
        and event_at < $to
)

select
    row_number() over () as line_key,
    placed.*,
    case when $scope = 'store' then store_id else '' end as scope_key
from placed
where not exists (
    select 1
    from attribution.repeated_placed_events as repeated
    where repeated.event_id = placed.event_id
        and repeated.placed_at = placed.placed_at
        and repeated.order_id = placed.order_id
        and repeated.line_id = placed.line_id
)
