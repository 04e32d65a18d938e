-- Where to cut the buyers who ordered into slices of about as many order lines each.
--
-- grain:  one row per slice
-- kept:   for the run
-- reads:  attribution.placed_lines
-- params: $slices
with placed_lines as (
    select buyer_id
    from attribution.placed_lines
),

sliced as (
    select
        buyer_id,
        ntile($slices) over (order by buyer_id) as slice
    from placed_lines
)

select distinct min(buyer_id) as first_buyer
from sliced
group by slice
order by first_buyer
