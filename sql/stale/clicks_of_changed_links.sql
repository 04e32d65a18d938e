-- Clicks of changed links of which another thing is made now (C1, D7).
--
-- grain:  one row per valid click, or click that was rejected for its link
-- kind:   temporary
-- reads:  changed.links, reference.links, clean.clicks, stale.rejected_clicks
--
-- A link decides whether a click is valid, and whose it is. A duplicate was valid, too.
with keys as (
    select link_key
    from changed.links
),

clicks as (
    select
        dt, click_id as row_id, clicked_at, link_key, publisher_id, tracking_id,
        true as was_valid, true as is_clean
    from clean.clicks
    where link_key in (select link_key from keys)
    union all
    select
        dt, row_id, clicked_at, link_key, null as publisher_id, null as tracking_id,
        reason = 'duplicate' as was_valid, false as is_clean
    from stale.rejected_clicks
    where reason in ('unknown_link', 'duplicate') and link_key in (select link_key from keys)
),

judged as (
    select
        clicks.*,
        links.publisher_id as publisher_now,
        links.tracking_id as tracking_now,
        links.publisher_id is not null as is_valid
    from clicks
    left join reference.links as links
        on clicks.link_key = links.link_key
        and (links.valid_from is null or links.valid_from <= clicks.clicked_at)
        and (links.valid_to is null or clicks.clicked_at < links.valid_to)
)

select
    dt,
    link_key,
    row_id,
    was_valid <> is_valid as is_turned
from judged
where was_valid <> is_valid
    or (is_clean
        and ((publisher_id is distinct from publisher_now)
            or (tracking_id is distinct from tracking_now)))
