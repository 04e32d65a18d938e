-- Visitors who are a buyer by the logs, each with a trail of their own.
--
-- grain:  one row per visitor, or per visitor and store when only clicks on the order's store count
-- kind:   temporary
-- rule:   whose_click
-- reads:  attribution.line_visitors, attribution.buyer_trails
--
-- Whose such a visitor is depends on the order line. So the visitor's anonymous clicks are a trail
-- of their own, which belongs to one buyer's lines now and to another's later. Trails of visitors
-- are numbered after those of buyers.
with visitors as (
    select distinct visitor_id, scope_key
    from attribution.line_visitors
)

select
    cast(row_number() over () + (select count(*) from attribution.buyer_trails) as bigint)
        as trail_key,
    visitor_id,
    scope_key
from visitors
