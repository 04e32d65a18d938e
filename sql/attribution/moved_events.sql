-- All events, from the horizon before on, of the order lines with something to book.
--
-- grain:  one row per event of such a line
-- kept:   for the run
-- reads:  attribution.moved_lines, clean.order_events
-- params: $from, $to, $horizon, $slice, $first_order, $next_order
--
-- What happened before the dates to make decides what is booked on them. Few lines of a horizon
-- have something to book on a night: what follows looks no further than these.
--
-- Orders come in slices that fit into memory, each on a core of its own.
with lines as (
    select order_id, line_id
    from attribution.moved_lines
    where order_id >= $first_order and ($next_order is null or order_id < $next_order)
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
)

select
    $slice as slice,
    events.*
from lines
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
