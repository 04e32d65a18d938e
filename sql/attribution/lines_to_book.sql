-- Order lines with something to book, by their placed events, counting or not.
--
-- grain:  one row per placed event of such a line
-- kept:   for the run
-- reads:  clean.order_events
-- params: $from, $to, $horizon
--
-- Few lines of a horizon have something to book on a night: what follows looks these up.
with events as (
    select
        event_id, event_type, event_at, order_id, line_id, original_amount, original_currency,
        fx_rate
    from clean.order_events
    where event_at >= $from - $horizon and event_at < $to
),

moving as (
    select distinct order_id, line_id
    from events
    where event_at >= $from
)

select
    events.event_id,
    events.event_at as placed_at,
    events.order_id,
    events.line_id,
    events.original_amount,
    events.original_currency,
    events.fx_rate
from moving
inner join events
    on moving.order_id = events.order_id
    and moving.line_id = events.line_id
where events.event_type = 'placed'
