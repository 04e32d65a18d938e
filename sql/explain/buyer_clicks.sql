-- Clicks of one buyer around an order, newest first.
--
-- reads:  clean.clicks
-- params: $buyer, $from, $to
select click_id, clicked_at, publisher_id, tracking_id, link_key, store_id
from clean.clicks
where buyer_id = $buyer
    and clicked_at >= $from
    and clicked_at < $to
order by clicked_at desc, click_id desc
