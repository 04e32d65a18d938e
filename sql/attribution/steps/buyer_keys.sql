-- Buyers who ordered, each with a number for this run.
--
-- grain:  one row per buyer, or per buyer and store when only clicks on the order's store count
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.placed_lines
with buyers as (
    select distinct buyer_id, scope_key
    from attribution.placed_lines
)

select
    cast(row_number() over () as bigint) as buyer_key,
    buyer_id,
    scope_key
from buyers
