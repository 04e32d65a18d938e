-- When the order lines to attribute were placed: in the dates to make, and in the horizon before.
--
-- grain:  one row per placed event of such a line
-- kind:   temporary
-- rule:   one_placed_event
-- reads:  attribution.lines_to_attribute, clean.order_events
-- params: $from, $to, $horizon
--
-- Before the dates to make, only the time of a placed event matters. Its id is not read.
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
from attribution.lines_to_attribute as lines
inner join placed
    on lines.order_id = placed.order_id
    and lines.line_id = placed.line_id
