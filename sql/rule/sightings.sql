-- Sightings: when a visitor and a buyer were seen together, by a click or by an order (C7).
--
-- grain:  one row per clean click and clean placed event that names both
-- kind:   temporary
-- reads:  clean.clicks, clean.order_events
--
-- A repeated placed event is a sighting, too: it does not count as an order, but somebody was seen.
select visitor_id, buyer_id, clicked_at as seen_at, 'click' as seen_by, click_id as row_id
from clean.clicks
where visitor_id is not null and buyer_id is not null
union all
select visitor_id, buyer_id, event_at as seen_at, 'order' as seen_by, event_id as row_id
from clean.order_events
where event_type = 'placed' and visitor_id is not null and buyer_id is not null
