-- Visitors who are the buyer of an order line by the logs (C7).
--
-- grain:  one row per order line placed and such visitor
-- kind:   temporary
-- rule:   latest_sightings
-- reads:  attribution.placed_lines, attribution.sightings
-- params: $window
with placed_lines as (
    select line_key, buyer_id, scope_key, placed_at
    from attribution.placed_lines
)

select
    placed_lines.line_key,
    placed_lines.placed_at,
    placed_lines.scope_key,
    sightings.visitor_id
from placed_lines
inner join attribution.sightings as sightings
    on placed_lines.buyer_id = sightings.buyer_id
    and sightings.first_seen_at <= placed_lines.placed_at
    and sightings.last_seen_at >= placed_lines.placed_at - $window
    and (
        sightings.next_seen_at is null or placed_lines.placed_at < sightings.next_seen_at
    )
