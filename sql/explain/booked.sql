-- What the ledger booked for the events of one order.
--
-- reads:  report.transaction_details
-- params: $order
select
    line_id, placed_at, event_id, event_at, is_effective, sale_amount, pending_commission,
    approved_commission
from report.transaction_details
where order_id = $order
