-- Every raw click with the first reason to reject it, or null. Duplicates are found later.
--
-- grain:  one row per raw click of the landing date
-- kind:   temporary
-- split:  is_accepted
-- order:  as read
-- reads:  raw.clicks, reference.links, clean.repeated_ids
-- params: $dt, $dt_start, $first_dt, $late, $ahead
--
-- A click is accepted when no check rejects it and no other row has its id. Nearly all clicks are
-- accepted. Only the others keep the columns that a rejected row needs. From landing dates before
-- those to clean, only rows stay that can make a later row a duplicate.
with links as (
    select link_key, publisher_id, tracking_id, valid_from, valid_to
    from reference.links
),

repeated as (
    select id_hash
    from clean.repeated_ids
),

judged as (
    select
        raw.*,
        links.publisher_id,
        links.tracking_id,
        repeated.id_hash is not null as is_repeated,
        case
            when raw.is_bad_text then 'bad_text'
            when raw.click_id is null then 'missing_click_id'
            when raw.clicked_at is null then 'missing_time'
            when raw.clicked_at < $dt_start - $late then 'too_late'
            when raw.clicked_at >= $dt_start + $ahead then 'in_the_future'
            when raw.link_key is null then 'not_a_promotion_link'
            when links.publisher_id is null then 'unknown_link'
        end as reject_reason
    from repeated
    right join (
        links
        right join raw.clicks as raw
            on raw.link_key = links.link_key
            and (links.valid_from is null or links.valid_from <= raw.clicked_at)
            and (links.valid_to is null or raw.clicked_at < links.valid_to)
    )
        on hash64(raw.click_id) = repeated.id_hash
    where raw.dt = $dt
)

select
    reject_reason is null and not is_repeated as is_accepted,
    dt,
    click_id,
    clicked_at,
    case when reject_reason is not null or is_repeated then url end as url,
    buyer_id,
    visitor_id,
    store_id,
    product_id,
    country,
    device,
    case when reject_reason is not null or is_repeated then row_at end as row_at,
    is_bad_text,
    has_own_names,
    has_further_columns,
    link_key,
    publisher_id,
    tracking_id,
    reject_reason
from judged
where dt >= $first_dt or (is_repeated and reject_reason is null)
