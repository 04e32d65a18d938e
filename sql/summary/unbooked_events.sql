-- Events of the dates that make no movement: repeated placed events (A5), and orphans (M7),
-- which have no placed event of their line at or before them, or one that is too long ago.
--
-- reads:  clean.order_events, attribution.movements
-- params: $from, $to
with events as (
    select event_id, event_at, event_type
    from clean.order_events
    where event_at >= $from and event_at < $to
),

movements as (
    select event_id, event_at
    from attribution.movements
)

select
    count(*) filter (where events.event_type = 'placed') as repeated_placed_events,
    count(*) filter (where events.event_type <> 'placed') as orphan_events
from events
left join movements
    on events.event_id = movements.event_id
    and events.event_at = movements.event_at
where movements.event_id is null
