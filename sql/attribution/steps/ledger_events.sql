-- The events of each order line to book, each with the counting placed event that it belongs to.
--
-- grain:  one row per event of such a line
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.ledger_lines, attribution.line_history
-- params: $horizon
--
-- An event belongs to the counting placed event of its line at or before it, if that one is within
-- the horizon. There is one at most, because counting placed events of a line are farther apart
-- (A5). line_key is null where there is none: a repeated placed event (A5), or an orphan (M7). Only
-- these keep their order_id and line_id, because few events do.
--
-- given_back is the amount of a refund that can have an effect: a refund that names another
-- currency than its line's has none (M1). original_currency is the one that the event names, else
-- the line's. event_rank orders events of one instant as the rules do (M1). event_key is a number
-- for the event, valid in this run and bucket only.
with lines as (
    select line_key, event_id, order_id, line_id, placed_at, original_currency
    from attribution.ledger_lines
),

events as (
    select
        event_id, event_type, event_at, order_id, line_id, original_amount, original_currency,
        reason
    from attribution.line_history
)

select
    row_number() over () as event_key,
    lines.line_key,
    events.event_id,
    events.event_type as movement,
    events.event_at,
    case when lines.line_key is null then events.order_id end as order_id,
    case when lines.line_key is null then events.line_id end as line_id,
    events.original_amount,
    case
        when events.event_type in ('placed', 'refunded')
        then coalesce(events.original_currency, lines.original_currency)
    end as original_currency,
    case
        when events.event_type = 'refunded'
            and coalesce(events.original_currency, lines.original_currency)
                = lines.original_currency
        then events.original_amount
    end as given_back,
    events.reason,
    case events.event_type
        when 'placed' then 1
        when 'paid' then 2
        when 'completed' then 3
        when 'cancelled' then 4
        else 5
    end as event_rank
from lines
right join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
    and events.event_at >= lines.placed_at
    and events.event_at <= lines.placed_at + $horizon
    and (
        events.event_type <> 'placed'
        or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
    )
