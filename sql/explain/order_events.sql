-- Events of one order, with what the ledger booked for them if the line is attributed.
--
-- reads:  clean.order_events, report.transaction_details
-- params: $order
with events as (
    select event_id, event_type, event_at, order_id, line_id, original_amount, reason
    from clean.order_events
    where order_id = $order
),

booked as (
    select
        event_id, event_at, is_effective, sale_amount, pending_commission, approved_commission
    from report.transaction_details
    where order_id = $order
)

select
    events.line_id,
    events.event_id,
    events.event_type,
    events.event_at,
    events.original_amount,
    events.reason,
    booked.is_effective,
    booked.sale_amount,
    booked.pending_commission,
    booked.approved_commission
from events
left join booked
    on events.event_id = booked.event_id
    and events.event_at = booked.event_at
order by
    events.line_id,
    events.event_at,
    case events.event_type
        when 'placed' then 1
        when 'paid' then 2
        when 'completed' then 3
        when 'cancelled' then 4
        else 5
    end,
    events.event_id
