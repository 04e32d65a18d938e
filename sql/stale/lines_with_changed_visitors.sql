-- The same lines by date, where there are too many to ask of each one which click earns it now.
--
-- grain:  one row per order date and visitor
-- kind:   temporary
-- reads:  stale.lines_with_changed_clicks
select distinct order_date, visitor_id, buyer_id
from stale.lines_with_changed_clicks
