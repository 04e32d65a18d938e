-- Events of the dates that make no movement: repeated placed events (A5) and orphans (M7).
--
-- reads:  clean.order_events, attribution.movements
-- params: $from, $to
--
-- An orphan has no counting placed event of its line at or before it within the horizon. Every
-- other event makes one movement.
with counted as (
    select event_type, 1 as unbooked
    from clean.order_events
    where event_at >= $from and event_at < $to
    union all
    select movement as event_type, -1 as unbooked
    from attribution.movements
)

select
    coalesce(sum(unbooked) filter (where event_type = 'placed'), 0) as repeated_placed_events,
    coalesce(sum(unbooked) filter (where event_type <> 'placed'), 0) as orphan_events
from counted
