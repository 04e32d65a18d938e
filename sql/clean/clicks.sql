-- Visits through a promotion link, one row per click, with the publisher who earned the visit.
--
-- grain:  one row per click of the landing date
-- key:    dt, click_id
-- kind:   stored
-- version: 2
-- time:   clicked_at
-- order:  as read
-- reads:  clean.checked_clicks, clean.repeated_clicks
-- params: $dt
-- columns:
--   dt            date     UTC date on which the row arrived
--   click_id      id       the log's own id
--   clicked_at    instant  when the click happened
--   link_key      text     the promotion link, as its URL names it
--   publisher_id  text     the publisher whose link it was at that moment
--   tracking_id   text     the publisher's own label for the link
--   buyer_id      id       the buyer, as logged
--   visitor_id    id       the visitor: a cookie or device, as logged
--   store_id      text     the store of the page landed on, as logged
--   product_id    text     the product of the page landed on, as logged
--   country       text     the visitor's country, as logged
--   device        text     the visitor's device, as logged
--
-- Rows are not sorted. They stay in the order of the landing date's files, except that rows of
-- repeated ids come last. Whose a click without a buyer is, attribution asks for each order (C5).
select
    dt,
    click_id,
    clicked_at,
    link_key,
    publisher_id,
    tracking_id,
    buyer_id,
    visitor_id,
    store_id,
    product_id,
    country,
    device
from clean.checked_clicks
where is_accepted and dt = $dt
union all
select
    dt,
    click_id,
    clicked_at,
    link_key,
    publisher_id,
    tracking_id,
    buyer_id,
    visitor_id,
    store_id,
    product_id,
    country,
    device
from clean.repeated_clicks
where reject_reason is null and dt = $dt
