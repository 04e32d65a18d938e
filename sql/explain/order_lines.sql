-- The lines of one order, with what became of them.
--
-- reads:  attribution.conversions
-- params: $order
select
    order_id, line_id, placed_at, event_id, buyer_id, store_id, product_id, category_id, amount,
    status, click_id, clicked_at, publisher_id, tracking_id, clicks_in_window, commission_rate,
    rate_source
from attribution.conversions
where order_id = $order
order by placed_at, line_id
