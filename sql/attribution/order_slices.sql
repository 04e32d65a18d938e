-- Where to cut the orders that may have something to book into slices of about as many lines.
--
-- grain:  one row per slice
-- kept:   for the run
-- reads:  attribution.conversions
-- params: $from, $to, $horizon, $slices
--
-- Every sixtieth line is enough to know where: those placed in the first second of a minute.
with sampled as (
    select order_id
    from attribution.conversions
    where placed_at >= $from - $horizon
        and placed_at < $to
        and extract(second from placed_at) = 0
),

sliced as (
    select
        order_id,
        ntile($slices) over (order by order_id) as slice
    from sampled
)

select distinct min(order_id) as first_order
from sliced
group by slice
order by first_order
