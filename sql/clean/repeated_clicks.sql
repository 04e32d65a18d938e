-- Raw clicks whose id is there more than once, with the verdict on each.
--
-- grain:  one row per raw row of such an id, of the landing dates to clean
-- kept:   for the run
-- reads:  clean.checked_clicks, clean.repeated_click_ids, clean.clicks, clean.rejects
-- params: $first_dt, $dedup_days
--
-- A log is delivered at least once, so the same row may come again: later on its own
-- landing date or on one of the next dates. The rows of one id are put in order (by date,
-- then time, then content) and each looks at the one before it. Rows that fail another
-- check take no part: a broken copy must not push out the good one.
with repeated as (
    select id_number
    from clean.repeated_click_ids
),

checked as (
    select *
    from clean.checked_clicks
    where not is_settled and reject_reason is null
),

-- Ids that were valid on landing dates that are clean already: those kept, and their
-- duplicates.
known as (
    select dt, click_id from clean.clicks
    union all
    select dt, row_id as click_id
    from clean.rejects
    where log = 'clicks' and reason = 'duplicate'
),

candidates as (
    select
        dt, click_id, clicked_at, url, buyer_id, visitor_id, store_id, product_id,
        country, device, further_columns, link_key, publisher_id, tracking_id,
        true as is_raw
    from checked
    union all
    select
        dt, click_id, null, null, null, null, null, null, null, null, null, null, null,
        null, false as is_raw
    from known
    where hash64(click_id) in (select id_number from repeated)
),

in_order as (
    select
        candidates.*,
        lag(dt) over (
            partition by click_id
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
    case when previous_dt >= dt - $dedup_days then 'duplicate' end as reject_reason
from in_order
where is_raw and dt >= $first_dt
