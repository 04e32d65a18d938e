-- On which of some landing dates a placed event is clean.
--
-- reads:  clean.order_events
select distinct dt
from clean.order_events
where event_type = 'placed'
