-- The order lines of which a plain rule is asked, as counting placed events.
--
-- grain:  one row per order line
-- kind:   temporary
-- reads:  stale.lines_of_changed_rates
select distinct
    order_id, line_id, event_id, placed_at, store_id, product_id, category_id, true as is_counting
from stale.lines_of_changed_rates
