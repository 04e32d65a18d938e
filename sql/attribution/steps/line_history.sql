-- All events of the order lines to book, the horizon before the dates included.
--
-- grain:  one row per event of such a line
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.lines_to_book, clean.order_events
-- params: $from, $to, $horizon, $first_order, $next_order
--
-- Events before the dates to make decide what is booked on them. In a nightly run few lines have
-- something to book, so the next steps read these lines only. A bucket of orders fits into memory:
-- it goes from $first_order, included, to $next_order, excluded.
with lines as (
    select order_id, line_id
    from attribution.lines_to_book
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

select events.*
from lines
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
