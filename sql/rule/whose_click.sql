-- The clicks that are the buyer's, asked for each order line anew, and how that is known (C5).
--
-- grain:  one row per counting placed event and click of its buyer
-- kind:   temporary
-- reads:  rule.one_placed_event, rule.latest_sightings, clean.clicks, reference.identities
--
-- A click is the logged buyer's. Without one it is the buyer's whom identities name for the visitor
-- at the time of the click. Where they name nobody, the latest sighting before the order decides.
-- So a buyer who logs in days after the click is known all the same.
with lines as (
    select order_id, line_id, event_id, placed_at, buyer_id, store_id
    from rule.one_placed_event
    where is_counting
),

clicks as (
    select
        clicks.*,
        case when clicks.buyer_id is null then clicks.visitor_id end as anonymous_visitor_id,
        identities.buyer_id as identified_buyer_id
    from clean.clicks as clicks
    left join reference.identities as identities
        on clicks.buyer_id is null
        and clicks.visitor_id = identities.visitor_id
        and (identities.valid_from is null or identities.valid_from <= clicks.clicked_at)
        and (identities.valid_to is null or clicks.clicked_at < identities.valid_to)
),

matched as (
    select
        lines.order_id,
        lines.line_id,
        lines.placed_at,
        lines.store_id as line_store_id,
        clicks.click_id,
        clicks.clicked_at,
        clicks.visitor_id,
        clicks.publisher_id,
        clicks.tracking_id,
        clicks.link_key,
        clicks.store_id,
        sightings.seen_at,
        sightings.seen_by,
        sightings.row_id as seen_row_id,
        case
            when clicks.buyer_id = lines.buyer_id then 'buyer'
            when identified_buyer_id = lines.buyer_id then 'identities'
            when identified_buyer_id is null and sightings.buyer_id = lines.buyer_id then 'logs'
        end as matched_by
    from lines
    cross join clicks
    left join rule.latest_sightings as sightings
        on lines.order_id = sightings.order_id
        and lines.line_id = sightings.line_id
        and lines.placed_at = sightings.placed_at
        and clicks.anonymous_visitor_id = sightings.visitor_id
)

select *
from matched
where matched_by is not null
