-- The events of one order.
--
-- kind:   temporary
-- reads:  clean.order_events
-- params: $order
select *
from clean.order_events
where order_id = $order
order by
    line_id,
    event_at,
    case event_type
        when 'placed' then 1
        when 'paid' then 2
        when 'completed' then 3
        when 'cancelled' then 4
        else 5
    end,
    event_id
