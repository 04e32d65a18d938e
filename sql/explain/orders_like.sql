-- Ids of orders that begin like one, or end like it.
--
-- reads:  clean.order_events
-- params: $begin, $end
select distinct order_id
from clean.order_events
where starts_with(order_id, $begin)
    or ends_with(order_id, $end)
order by order_id
limit 1000
