-- When the order lines to make were placed, now and within the horizon before.
--
-- grain:  one row per placed event of such a line
-- kept:   for the run
-- reads:  attribution.new_lines, clean.order_events
-- params: $from, $to, $horizon
--
-- Of those before the dates to make only the moment counts: ids are not read there.
with placed as (
    select event_id, event_at as placed_at, order_id, line_id
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from
        and event_at < $to
    union all
    select null as event_id, event_at as placed_at, order_id, line_id
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from - $horizon
        and event_at < $from
)

select placed.event_id, placed.placed_at, placed.order_id, placed.line_id
from attribution.new_lines as lines
inner join placed
    on lines.order_id = placed.order_id
    and lines.line_id = placed.line_id
