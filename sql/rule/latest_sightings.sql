-- The sighting that decides, for an order line, who a visitor is: the latest one up to it (C7).
--
-- grain:  one row per counting placed event and visitor seen in the window before it
-- kind:   temporary
-- reads:  rule.one_placed_event, rule.sightings
-- params: $window, $from_logs
--
-- The line's own placed event is among the sightings. Of several at one instant the greatest buyer
-- decides.
with lines as (
    select order_id, line_id, event_id, placed_at
    from rule.one_placed_event
    where is_counting
),

ranked as (
    select
        lines.order_id,
        lines.line_id,
        lines.placed_at,
        sightings.*,
        row_number() over (
            partition by lines.order_id, lines.line_id, lines.placed_at, sightings.visitor_id
            order by sightings.seen_at desc, sightings.buyer_id desc, seen_by, row_id
        ) as position
    from lines
    inner join rule.sightings as sightings
        on sightings.seen_at <= lines.placed_at
        and sightings.seen_at >= lines.placed_at - cast($window as interval)
    where $from_logs
)

select order_id, line_id, placed_at, visitor_id, buyer_id, seen_at, seen_by, row_id
from ranked
where position = 1
