-- The events of one order that moved nothing, when their dates were made.
--
-- reads:  report.unbooked_events
-- params: $order
select report_date, event_id, event_at, line_id, why
from report.unbooked_events
where order_id = $order
