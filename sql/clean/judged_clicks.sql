-- Every raw click with the first reason to reject it, or none.
--
-- grain:  one row per raw click of the landing dates to clean
-- kept:   for the run
-- reads:  raw.clicks, reference.links, clean.clicks, clean.rejects
-- params: $first_dt, $late, $dedup_days
--
-- A log is delivered at least once, so the same click may come again: later on its own
-- landing date or on one of the next dates. The rows of one id are put in order (by date,
-- then time, then content) and each looks at the one before it. Rows that fail another
-- check take no part: a broken copy must not push out the good one.
with links as (
    select link_key, publisher_id, tracking_id, valid_from, valid_to
    from reference.links
),

checked as (
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
),

-- Ids that were valid on landing dates cleaned before: those kept, and their duplicates.
known as (
    select dt, click_id from clean.clicks where dt < $first_dt
    union all
    select dt, row_id as click_id
    from clean.rejects
    where log = 'clicks' and reason = 'duplicate' and dt < $first_dt
),

candidates as (
    select checked.*, true as is_raw from checked
    union all
    select
        dt, click_id, null, null, null, null, null, null, null, null, null, null, null, null,
        null, false as is_raw
    from known
),

in_order as (
    select
        candidates.*,
        lag(dt) over (
            partition by reject_reason is null, click_id
            order by
                dt,
                clicked_at nulls first,
                url nulls first,
                buyer_id nulls first,
                visitor_id nulls first,
                store_id nulls first,
                product_id nulls first,
                country nulls first,
                device nulls first,
                array_to_string(further_columns, chr(31), chr(30)) nulls first
        ) as previous_dt
    from candidates
)

select
    dt,
    click_id,
    clicked_at,
    url,
    buyer_id,
    visitor_id,
    store_id,
    product_id,
    country,
    device,
    further_columns,
    link_key,
    publisher_id,
    tracking_id,
    case
        when reject_reason is null and previous_dt >= dt - $dedup_days then 'duplicate'
        else reject_reason
    end as reject_reason
from in_order
where is_raw and dt >= $first_dt
