-- The events of each order line with something to book, from its placed event on.
--
-- grain:  one row per event and counting placed event of its line
-- kept:   for the run
-- reads:  attribution.conversions, clean.order_events
-- params: $from, $to, $horizon, $slice, $first_order, $next_order
--
-- Orders come in slices that fit into memory, each on a core of its own.
-- turn puts events of one instant in order (section "Money" of the contract).
with conversions as (
    select *
    from attribution.conversions
    where placed_at >= $from - $horizon
        and placed_at < $to
        and order_id >= $first_order
        and ($next_order is null or order_id < $next_order)
),

events as (
    select
        event_id, event_type, event_at, order_id, line_id, original_amount, original_currency,
        fx_rate, reason
    from clean.order_events
    where event_at >= $from - $horizon
        and event_at < $to
        and order_id >= $first_order
        and ($next_order is null or order_id < $next_order)
),

-- Lines with something to book. What happened to them before decides what it is.
moving as (
    select distinct order_id, line_id
    from events
    where event_at >= $from
),

-- A conversion may have been kept while its placed event is not there (any more), as with
-- logs read as of an earlier date: then its events are orphans (M7).
lines as (
    select
        conversions.*,
        placed.original_amount as line_original,
        placed.original_currency as line_currency,
        placed.fx_rate as line_fx_rate
    from conversions
    inner join moving
        on conversions.order_id = moving.order_id
        and conversions.line_id = moving.line_id
    inner join events as placed
        on conversions.order_id = placed.order_id
        and conversions.line_id = placed.line_id
        and conversions.event_id = placed.event_id
        and conversions.placed_at = placed.event_at
        and placed.event_type = 'placed'
)

select
    $slice as slice,
    events.event_id,
    events.event_type as movement,
    events.event_at,
    events.original_amount,
    events.reason,
    lines.order_id,
    lines.line_id,
    lines.buyer_id,
    lines.store_id,
    lines.product_id,
    lines.category_id,
    lines.country,
    lines.status,
    lines.publisher_id,
    lines.tracking_id,
    lines.click_id,
    lines.clicked_at,
    lines.placed_at,
    lines.seconds_to_order,
    lines.commission_rate,
    lines.rate_source,
    case events.event_type
        when 'placed' then 1
        when 'paid' then 2
        when 'completed' then 3
        when 'cancelled' then 4
        else 5
    end as turn,
    lines.line_original,
    lines.line_currency,
    lines.line_fx_rate
from lines
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
    and events.event_at >= lines.placed_at
    and events.event_at <= lines.placed_at + $horizon
where events.event_type <> 'placed'
    or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
