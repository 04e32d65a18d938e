-- The clicks that won, with the columns that other tables need.
--
-- grain:  one row per trail and moment at which one of its clicks may have won
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.winners, attribution.buyer_trails, attribution.visitor_trails, clean.clicks
-- params: $scope
--
-- Several clicks of a trail may share the winning moment. The one with the greatest id wins (A2).
-- Few clicks happened at a moment at which any click won. So buyer and visitor are read for these
-- few only.
with winners as (
    select distinct trail_key, clicked_at
    from attribution.winners
),

clicks as (
    select
        case when $scope = 'store' then store_id else '' end as scope_key,
        clicks.*
    from clean.clicks as clicks
    where clicked_at in (select clicked_at from attribution.winners)
),

of_buyers as (
    select
        winners.trail_key,
        winners.clicked_at,
        buyers.buyer_id,
        buyers.scope_key
    from winners
    inner join attribution.buyer_trails as buyers
        on winners.trail_key = buyers.trail_key
),

of_visitors as (
    select
        winners.trail_key,
        winners.clicked_at,
        visitors.matched_by,
        visitors.visitor_id,
        visitors.scope_key
    from winners
    inner join attribution.visitor_trails as visitors
        on winners.trail_key = visitors.trail_key
        and (visitors.valid_from is null or visitors.valid_from <= winners.clicked_at)
        and (visitors.valid_to is null or winners.clicked_at < visitors.valid_to)
),

matched as (
    select 'buyer' as matched_by, of_buyers.trail_key, clicks.*
    from of_buyers
    inner join clicks
        on of_buyers.buyer_id = clicks.buyer_id
        and of_buyers.clicked_at = clicks.clicked_at
        and of_buyers.scope_key = clicks.scope_key
    union all
    select of_visitors.matched_by, of_visitors.trail_key, clicks.*
    from of_visitors
    inner join clicks
        on of_visitors.visitor_id = clicks.visitor_id
        and of_visitors.clicked_at = clicks.clicked_at
        and of_visitors.scope_key = clicks.scope_key
    where clicks.buyer_id is null
),

in_order as (
    select
        matched.*,
        lead(trail_key) over trail_and_moment as next_trail_key,
        lead(clicked_at) over trail_and_moment as next_clicked_at
    from matched
    window trail_and_moment as (order by trail_key, clicked_at, click_id, dt)
)

select
    trail_key, clicked_at, click_id, publisher_id, tracking_id, link_key, store_id, country,
    device, matched_by
from in_order
where next_trail_key is null
    or next_trail_key <> trail_key
    or next_clicked_at <> clicked_at
