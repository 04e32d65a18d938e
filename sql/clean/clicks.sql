-- Visits through a promotion link, one row per click, with the publisher who earned the visit.
--
-- grain:  one row per click of the landing date
-- key:    dt, click_id
-- kept:   as clean/clicks
-- order:  as read
-- reads:  clean.checked_clicks, clean.repeated_clicks, reference.identities
-- params: $dt
-- columns:
--   dt            date     UTC date on which the row arrived
--   click_id      id       the log's own id
--   clicked_at    instant  when the visit happened
--   link_key      text     the promotion link, as its URL names it
--   publisher_id  text     whose link it was at that moment
--   tracking_id   text     the publisher's own label for the link
--   buyer_id      id       the logged buyer, else the one known for the visitor
--   visitor_id    id       cookie or device
--   store_id      text     store of the page landed on
--   product_id    text     product of the page landed on
--   country       text     as logged
--   device        text     as logged
--
-- Not sorted: rows of a landing date stay in the order in which its files have them, duplicates
-- at the end. Nobody is looked for where the buyer is logged.
with valid as (
    select
        dt, click_id, clicked_at, link_key, publisher_id, tracking_id, buyer_id, visitor_id,
        store_id, product_id, country, device
    from clean.checked_clicks
    where is_settled and dt = $dt
    union all
    select
        dt, click_id, clicked_at, link_key, publisher_id, tracking_id, buyer_id, visitor_id,
        store_id, product_id, country, device
    from clean.repeated_clicks
    where reject_reason is null and dt = $dt
)

select
    valid.dt,
    valid.click_id,
    valid.clicked_at,
    valid.link_key,
    valid.publisher_id,
    valid.tracking_id,
    coalesce(valid.buyer_id, identities.buyer_id) as buyer_id,
    valid.visitor_id,
    valid.store_id,
    valid.product_id,
    valid.country,
    valid.device
from reference.identities as identities
right join valid
    on identities.visitor_id = case when valid.buyer_id is null then valid.visitor_id end
