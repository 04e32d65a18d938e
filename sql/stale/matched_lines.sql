-- The order lines of which is asked whose clicks are, as counting placed events.
--
-- grain:  one row per order line
-- kind:   temporary
-- reads:  stale.lines_with_changed_clicks
select distinct
    order_id, line_id, event_id, placed_at, buyer_id, store_id, true as is_counting
from stale.lines_with_changed_clicks
