-- Every raw click with the first reason to reject it, or none; duplicates are found later.
--
-- grain:  one row per raw click of the landing dates to read
-- kept:   for the run
-- reads:  raw.clicks, reference.links
-- params: $late
with links as (
    select link_key, publisher_id, tracking_id, valid_from, valid_to
    from reference.links
)

select
    raw.dt,
    raw.click_id,
    raw.clicked_at,
    raw.url,
    raw.buyer_id,
    raw.visitor_id,
    raw.store_id,
    raw.product_id,
    raw.country,
    raw.device,
    raw.further_columns,
    raw.link_key,
    links.publisher_id,
    links.tracking_id,
    case
        when raw.click_id is null then 'missing_click_id'
        when raw.clicked_at is null then 'missing_time'
        when raw.clicked_at < raw.dt_start - $late then 'too_late'
        when raw.clicked_at >= raw.dt_start + interval '25 hours' then 'in_the_future'
        when raw.link_key is null then 'not_a_promotion_link'
        when links.publisher_id is null then 'unknown_link'
    end as reject_reason
from raw.clicks as raw
left join links
    on raw.link_key = links.link_key
    and (links.valid_from is null or links.valid_from <= raw.clicked_at)
    and (links.valid_to is null or raw.clicked_at < links.valid_to)
