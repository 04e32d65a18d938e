-- The placed events that count, of the order dates to make.
--
-- grain:  one row per order line placed
-- kept:   for the run
-- reads:  clean.order_events, attribution.repeated_lines
-- params: $from, $to, $horizon, $scope
--
-- A line is placed once. A second placed event within the horizon is a repetition and does
-- not count, nor does one that repeats a repetition (A5): what matters is the placed event
-- just before, whether or not that one counted. Few lines have more than one, so only these
-- are put in order.
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
        and event_at >= $from - $horizon
        and event_at < $to
),

repeated_lines as (
    select order_id, line_id
    from attribution.repeated_lines
),

repeated as (
    select
        placed.*,
        lag(placed_at) over (
            partition by order_id, line_id
            order by placed_at, event_id
        ) as previous_placed_at
    from placed
    where exists (
        select 1
        from repeated_lines
        where repeated_lines.order_id = placed.order_id
            and repeated_lines.line_id = placed.line_id
    )
),

counting as (
    select *
    from placed
    where not exists (
        select 1
        from repeated_lines
        where repeated_lines.order_id = placed.order_id
            and repeated_lines.line_id = placed.line_id
    )
    union all
    select
        event_id, placed_at, order_id, line_id, buyer_id, store_id, product_id, category_id,
        country, amount
    from repeated
    where previous_placed_at is null or previous_placed_at < placed_at - $horizon
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
from counting
where placed_at >= $from
