-- Placed events that repeat one of their line, of the dates to make.
--
-- grain:  one row per placed event that does not count
-- kept:   for the run
-- reads:  attribution.placements
-- params: $from, $horizon
--
-- A line is placed once. A second placed event within the horizon is a repetition and does
-- not count, nor does one that repeats a repetition (A5): what matters is the placed event
-- just before, whether or not that one counted. Few lines have more than one, so only these
-- are put in order.
with lines as (
    select order_id, line_id
    from attribution.placements
    group by order_id, line_id
    having count(*) > 1
),

in_order as (
    select
        placements.event_id,
        placements.placed_at,
        placements.order_id,
        placements.line_id,
        lag(placements.placed_at) over (
            partition by placements.order_id, placements.line_id
            order by placements.placed_at, placements.event_id
        ) as previous_placed_at
    from lines
    inner join attribution.placements as placements
        on lines.order_id = placements.order_id
        and lines.line_id = placements.line_id
)

select event_id, placed_at, order_id, line_id
from in_order
where placed_at >= $from and previous_placed_at >= placed_at - $horizon
