-- Buyers who ordered, each with a trail: the clicks that are the buyer's for every order line.
--
-- grain:  one row per buyer, or per buyer and store when only clicks on the order's store count
-- kind:   temporary
-- rule:   whose_click
-- reads:  attribution.placed_lines
--
-- trail_key is a number for the trail, valid in this run only.
with buyers as (
    select distinct buyer_id, scope_key
    from attribution.placed_lines
)

select
    cast(row_number() over () as bigint) as trail_key,
    buyer_id,
    scope_key
from buyers
