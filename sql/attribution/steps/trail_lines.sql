-- The trails on which each order line looks for clicks, and when it was placed.
--
-- grain:  one row per order line placed and trail: its buyer's, and those of visitors who are its
--         buyer by the logs
-- kind:   temporary
-- split:  bucket
-- rule:   winning_click
-- reads:  attribution.placed_lines, attribution.buyer_trails, attribution.line_visitors,
--         attribution.visitor_keys
-- params: $buckets
with placed_lines as (
    select line_key, buyer_id, scope_key, placed_at
    from attribution.placed_lines
)

select
    buyers.trail_key % $buckets as bucket,
    buyers.trail_key,
    placed_lines.placed_at,
    placed_lines.line_key
from attribution.buyer_trails as buyers
inner join placed_lines
    on buyers.buyer_id = placed_lines.buyer_id
    and buyers.scope_key = placed_lines.scope_key
union all
select
    visitors.trail_key % $buckets as bucket,
    visitors.trail_key,
    lines.placed_at,
    lines.line_key
from attribution.visitor_keys as visitors
inner join attribution.line_visitors as lines
    on visitors.visitor_id = lines.visitor_id
    and visitors.scope_key = lines.scope_key
