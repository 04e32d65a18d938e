-- Order lines to which something happened in the dates to make.
--
-- grain:  one row per order line
-- kind:   temporary
-- rule:   balances
-- reads:  clean.order_events
-- params: $from, $to
select distinct order_id, line_id
from clean.order_events
where event_at >= $from and event_at < $to
