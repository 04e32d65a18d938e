-- Placed events that repeat an earlier one of their line, in the dates to make.
--
-- grain:  one row per placed event that does not count
-- kind:   temporary
-- rule:   one_placed_event
-- reads:  attribution.placed_history
-- params: $from, $horizon
--
-- A placed event does not count when another one of its line lies within the horizon before it,
-- whether that one counts or not (A5). So only the placed event just before matters. Few lines have
-- more than one placed event, and only these lines are sorted.
with lines as (
    select order_id, line_id
    from attribution.placed_history
    group by order_id, line_id
    having count(*) > 1
),

in_order as (
    select
        history.event_id,
        history.placed_at,
        history.order_id,
        history.line_id,
        lag(history.placed_at) over (
            partition by history.order_id, history.line_id
            order by history.placed_at, history.event_id
        ) as previous_placed_at
    from lines
    inner join attribution.placed_history as history
        on lines.order_id = history.order_id
        and lines.line_id = history.line_id
)

select event_id, placed_at, order_id, line_id
from in_order
where placed_at >= $from and previous_placed_at >= placed_at - $horizon
