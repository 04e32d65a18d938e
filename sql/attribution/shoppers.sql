-- Who ordered, numbered for the run.
--
-- grain:  one row per buyer, or per buyer and store when only clicks on the order's store count
-- kept:   for the run
-- reads:  attribution.placed_lines
with shoppers as (
    select distinct buyer_id, scope_key
    from attribution.placed_lines
)

select
    cast(row_number() over () as bigint) as shopper,
    buyer_id,
    scope_key
from shoppers
