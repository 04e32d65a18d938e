-- Placed events of the visitors of one order's buyers, of whatever order.
--
-- kind:   temporary
-- reads:  clean.order_events, explain.visitors
-- params: $from, $to
select *
from clean.order_events
where event_type = 'placed'
    and event_at >= $from
    and event_at < $to
    and visitor_id in (select visitor_id from explain.visitors)
