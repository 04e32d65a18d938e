-- The events of each order line to book, from its counting placed event on.
--
-- grain:  one row per event and counting placed event of its line
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.ledger_lines, attribution.line_history
-- params: $horizon
--
-- given_back is the amount of a refund that can have an effect: a refund that names another currency
-- than its line's has none (M1). original_currency is the one that the event names, else the line's.
-- event_rank orders events of one instant as the rules do (M1). event_key is a number for the
-- event, valid in this run and bucket only.
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
inner join events
    on lines.order_id = events.order_id
    and lines.line_id = events.line_id
    and events.event_at >= lines.placed_at
    and events.event_at <= lines.placed_at + $horizon
where events.event_type <> 'placed'
    or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
