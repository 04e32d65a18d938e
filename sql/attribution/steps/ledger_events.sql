-- The events of each order line to book, from its counting placed event on.
--
-- grain:  one row per event and counting placed event of its line
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.ledger_lines, attribution.line_history
-- params: $horizon
--
-- event_rank orders events of one instant as the rules do (M1). event_key is a number for the
-- event, valid in this run and bucket only.
with lines as (
    select line_key, event_id, order_id, line_id, placed_at
    from attribution.ledger_lines
),

events as (
    select event_id, event_type, event_at, order_id, line_id, original_amount, reason
    from attribution.line_history
)

select
    row_number() over () as event_key,
    lines.line_key,
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
    end as event_rank
from lines
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
    and events.event_at >= lines.placed_at
    and events.event_at <= lines.placed_at + $horizon
where events.event_type <> 'placed'
    or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
