-- Orphans of the dates that happened less than a second before their line was placed (M7).
--
-- reads:  attribution.unbooked_events, attribution.ledger_lines
--
-- Such an event comes from a clock of whole seconds, and its placed event from a finer one.
with orphans as (
    select order_id, line_id, event_at
    from attribution.unbooked_events
    where why = 'orphan'
),

lines as (
    select order_id, line_id, placed_at
    from attribution.ledger_lines
)

select count(*) as orphans
from orphans
inner join lines
    on orphans.order_id = lines.order_id
    and orphans.line_id = lines.line_id
    and orphans.event_at < lines.placed_at
    and orphans.event_at > lines.placed_at - interval '1 second'
