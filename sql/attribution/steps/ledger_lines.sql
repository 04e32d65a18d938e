-- Order lines to book, as they were placed and credited.
--
-- grain:  one row per counting placed event of such a line
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.conversions, attribution.line_history
-- params: $from, $to, $horizon, $bucket, $first_order, $next_order
--
-- A conversion may be stored while its placed event is missing, for example when logs are read as
-- of an earlier date. Its events are then orphans (M7).
--
-- line_key is a number for the order line, valid in this run only. row_key makes it unique across
-- buckets.
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
    from attribution.line_history
    where event_type = 'placed'
)

select
    row_key($bucket, row_number() over ()) as line_key,
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
