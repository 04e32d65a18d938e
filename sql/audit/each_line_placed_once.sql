-- Every line placed on the dates is in conversions once, and nothing else is.
--
-- reads:  clean.order_events, attribution.conversions
-- params: $from, $to, $horizon
--
-- This is not the text of the rule (A5), so that a mistake there is not repeated here. Each placed
-- event is compared with every other one of its line. Ids matter only at the same instant.
with placed as (
    select order_id, line_id, event_id, event_at
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from
        and event_at < $to
),

all_placed as (
    select order_id, line_id, event_id, event_at
    from placed
    union all
    select order_id, line_id, null as event_id, event_at
    from clean.order_events
    where event_type = 'placed'
        and event_at >= $from - $horizon
        and event_at < $from
),

repeated as (
    select distinct later.order_id, later.line_id, later.event_id, later.event_at
    from placed as later
    inner join all_placed as earlier
        on later.order_id = earlier.order_id
        and later.line_id = earlier.line_id
    where (earlier.event_at < later.event_at
            and earlier.event_at >= later.event_at - $horizon)
        or (earlier.event_at = later.event_at and earlier.event_id < later.event_id)
),

expected as (
    select placed.order_id, placed.line_id, placed.event_at as placed_at
    from placed
    left join repeated
        on placed.order_id = repeated.order_id
        and placed.line_id = repeated.line_id
        and placed.event_id = repeated.event_id
        and placed.event_at = repeated.event_at
    where repeated.event_id is null
),

both_sides as (
    select order_id, line_id, placed_at, 1 as expected_rows, 0 as rows_there from expected
    union all
    select order_id, line_id, placed_at, 0 as expected_rows, 1 as rows_there
    from attribution.conversions
    where placed_at >= $from and placed_at < $to
)

select
    order_id,
    line_id,
    placed_at,
    sum(expected_rows) as expected_rows,
    sum(rows_there) as rows_there
from both_sides
group by order_id, line_id, placed_at
having sum(expected_rows) <> 1 or sum(rows_there) <> 1
order by order_id, line_id, placed_at
