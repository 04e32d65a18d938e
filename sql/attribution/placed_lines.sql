-- The placed events that count, of the order dates to make.
--
-- grain:  one row per order line placed
-- kept:   for the run
-- reads:  clean.order_events, attribution.repetitions
-- params: $from, $to, $scope
--
-- Counted through, for the run only: line says shortly which line is meant.
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
    row_number() over () as line,
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
where not exists (
    select 1
    from attribution.repetitions as repetitions
    where repetitions.event_id = placed.event_id
        and repetitions.placed_at = placed.placed_at
        and repetitions.order_id = placed.order_id
        and repetitions.line_id = placed.line_id
)
