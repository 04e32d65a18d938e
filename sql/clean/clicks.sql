-- Visits through a promotion link, one row per click, with the publisher who earned the visit.
--
-- grain:  one row per click and landing date
-- key:    dt, click_id
-- kept:   as clean/clicks
-- reads:  clean.judged_clicks, reference.identities
-- columns:
--   dt            date     UTC date on which the row arrived
--   click_id      text     the log's own id
--   clicked_at    instant  when the visit happened
--   link_key      text     the promotion link, as its URL names it
--   publisher_id  text     whose link it was at that moment
--   tracking_id   text     the publisher's own label for the link
--   buyer_id      text     the logged buyer, else the one known for the visitor
--   visitor_id    text     cookie or device
--   store_id      text     store of the page landed on
--   product_id    text     product of the page landed on
--   country       text     as logged
--   device        text     as logged
--
-- Sorted by buyer: attribution asks for the clicks of some buyers, and finds them together.
with judged as (
    select *
    from clean.judged_clicks
    where reject_reason is null
)

select
    judged.dt,
    judged.click_id,
    judged.clicked_at,
    judged.link_key,
    judged.publisher_id,
    judged.tracking_id,
    coalesce(judged.buyer_id, identities.buyer_id) as buyer_id,
    judged.visitor_id,
    judged.store_id,
    judged.product_id,
    judged.country,
    judged.device
from judged
left join reference.identities as identities
    on judged.visitor_id = identities.visitor_id
order by dt, buyer_id, clicked_at, click_id
