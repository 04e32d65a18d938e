-- Order lines that have a placed event in the dates to make, repeated ones included.
--
-- grain:  one row per order line
-- kind:   temporary
-- rule:   one_placed_event
-- reads:  clean.order_events
-- params: $from, $to
select distinct order_id, line_id
from clean.order_events
where event_type = 'placed'
    and event_at >= $from
    and event_at < $to
