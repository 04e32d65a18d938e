-- Where to cut the orders that have something to book into slices of about as many lines.
--
-- grain:  one row per slice
-- kept:   for the run
-- reads:  attribution.moved_lines
-- params: $slices
with lines as (
    select order_id
    from attribution.moved_lines
),

sliced as (
    select
        order_id,
        ntile($slices) over (order by order_id) as slice
    from lines
)

select distinct min(order_id) as first_order
from sliced
group by slice
order by first_order
