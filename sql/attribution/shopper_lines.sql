-- When each shopper ordered.
--
-- grain:  one row per order line placed
-- kept:   for the run, each slice of shoppers apart
-- split:  slice
-- reads:  attribution.placed_lines, attribution.shoppers
-- params: $slices
with placed_lines as (
    select line, buyer_id, scope_key, placed_at
    from attribution.placed_lines
)

select
    shoppers.shopper % $slices as slice,
    shoppers.shopper,
    placed_lines.placed_at,
    placed_lines.line
from attribution.shoppers as shoppers
inner join placed_lines
    on shoppers.buyer_id = placed_lines.buyer_id
    and shoppers.scope_key = placed_lines.scope_key
