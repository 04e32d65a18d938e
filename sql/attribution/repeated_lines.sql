-- Order lines with more than one placed event.
--
-- grain:  one row per order line
-- kept:   for the run
-- reads:  clean.order_events
-- params: $from, $to, $horizon
select order_id, line_id
from clean.order_events
where event_type = 'placed'
    and event_at >= $from - $horizon
    and event_at < $to
group by order_id, line_id
having count(*) > 1
