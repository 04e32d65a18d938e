-- The events of each order line with something to book, from its placed event on.
--
-- grain:  one row per event and counting placed event of its line
-- kept:   for the run
-- reads:  attribution.moving_lines, attribution.moved_events
-- params: $horizon, $slice
--
-- turn puts events of one instant in order (section "Money" of the contract). Entries are counted
-- through, for the run only.
with lines as (
    select line, event_id, order_id, line_id, placed_at
    from attribution.moving_lines
    where slice = $slice
),

events as (
    select event_id, event_type, event_at, order_id, line_id, original_amount, reason
    from attribution.moved_events
    where slice = $slice
)

select
    $slice as slice,
    row_number() over () as entry,
    lines.line,
    events.event_id,
    events.event_type as movement,
    events.event_at,
    events.original_amount,
    events.reason,
    case events.event_type
        when 'placed' then 1
        when 'paid' then 2
        when 'completed' then 3
        when 'cancelled' then 4
        else 5
    end as turn
from lines
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
    and events.event_at >= lines.placed_at
    and events.event_at <= lines.placed_at + $horizon
where events.event_type <> 'placed'
    or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
