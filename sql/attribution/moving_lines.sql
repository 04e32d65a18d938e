-- Order lines with something to book, as they were placed and credited.
--
-- grain:  one row per counting placed event of such a line
-- kept:   for the run
-- reads:  attribution.conversions, attribution.moved_events
-- params: $from, $to, $horizon, $slice, $first_order, $next_order
--
-- A conversion may have been kept while its placed event is not there (any more), as with
-- logs read as of an earlier date: then its events are orphans (M7).
--
-- Lines are counted through, for the run only, a slice in numbers of its own: what follows says
-- line for short.
with conversions as (
    select *
    from attribution.conversions
    where placed_at >= $from - $horizon
        and placed_at < $to
        and order_id >= $first_order
        and ($next_order is null or order_id < $next_order)
),

placed as (
    select
        event_id, event_at as placed_at, order_id, line_id, original_amount, original_currency,
        fx_rate
    from attribution.moved_events
    where slice = $slice and event_type = 'placed'
)

select
    $slice as slice,
    $slice * 1000000000 + cast(row_number() over () as bigint) as line,
    conversions.event_id,
    conversions.order_id,
    conversions.line_id,
    conversions.buyer_id,
    conversions.store_id,
    conversions.product_id,
    conversions.category_id,
    conversions.country,
    conversions.status,
    conversions.publisher_id,
    conversions.tracking_id,
    conversions.click_id,
    conversions.clicked_at,
    conversions.placed_at,
    conversions.seconds_to_order,
    conversions.commission_rate,
    conversions.rate_source,
    placed.original_amount,
    placed.original_currency,
    placed.fx_rate
from placed
inner join conversions
    on placed.order_id = conversions.order_id
    and placed.line_id = conversions.line_id
    and placed.event_id = conversions.event_id
    and placed.placed_at = conversions.placed_at
