-- Order lines with something to book, by their placed events, counting or not.
--
-- grain:  one row per placed event of such a line
-- kept:   for the run
-- reads:  attribution.moved_lines, clean.order_events
-- params: $from, $to, $horizon
--
-- Few lines of a horizon have something to book on a night: what follows looks these up.
with placed as (
    select
        event_id, event_at as placed_at, order_id, line_id, original_amount, original_currency,
        fx_rate
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from - $horizon
        and event_at < $to
)

select
    placed.event_id,
    placed.placed_at,
    placed.order_id,
    placed.line_id,
    placed.original_amount,
    placed.original_currency,
    placed.fx_rate
from attribution.moved_lines as lines
inner join placed
    on lines.order_id = placed.order_id
    and lines.line_id = placed.line_id
