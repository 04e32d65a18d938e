-- When each buyer ordered.
--
-- grain:  one row per order line placed
-- kind:   temporary
-- split:  bucket
-- rule:   winning_click
-- reads:  attribution.placed_lines, attribution.buyer_keys
-- params: $buckets
with placed_lines as (
    select line_key, buyer_id, scope_key, placed_at
    from attribution.placed_lines
)

select
    buyers.buyer_key % $buckets as bucket,
    buyers.buyer_key,
    placed_lines.placed_at,
    placed_lines.line_key
from attribution.buyer_keys as buyers
inner join placed_lines
    on buyers.buyer_id = placed_lines.buyer_id
    and buyers.scope_key = placed_lines.scope_key
