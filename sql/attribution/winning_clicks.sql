-- The clicks that won, with what is asked for of them.
--
-- grain:  one row per shopper and moment at which a click of theirs won
-- kept:   for the run
-- reads:  attribution.winners, attribution.placed_lines, clean.clicks
-- params: $scope
--
-- Of several clicks of one moment the one with the greatest id wins (A2). Few clicks happened at a
-- moment at which any won: whose these were is looked at of them alone.
with winners as (
    select distinct
        placed_lines.buyer_id,
        placed_lines.scope_key,
        winners.clicked_at
    from attribution.winners as winners
    inner join attribution.placed_lines as placed_lines
        on winners.line = placed_lines.line
),

clicks as (
    select
        case when $scope = 'store' then store_id else '' end as scope_key,
        clicks.*
    from clean.clicks as clicks
    where clicked_at in (select clicked_at from attribution.winners)
),

in_order as (
    select
        winners.scope_key,
        clicks.buyer_id,
        clicks.clicked_at,
        clicks.click_id,
        clicks.publisher_id,
        clicks.tracking_id,
        clicks.link_key,
        clicks.store_id,
        clicks.country,
        clicks.device,
        lead(winners.scope_key) over shopper_and_moment as next_scope_key,
        lead(clicks.buyer_id) over shopper_and_moment as next_buyer_id,
        lead(clicks.clicked_at) over shopper_and_moment as next_clicked_at
    from winners
    inner join clicks
        on winners.buyer_id = clicks.buyer_id
        and winners.clicked_at = clicks.clicked_at
        and winners.scope_key = clicks.scope_key
    window shopper_and_moment as (
        order by
            winners.scope_key,
            clicks.buyer_id,
            clicks.clicked_at,
            clicks.click_id,
            clicks.dt
    )
)

select
    scope_key, buyer_id, clicked_at, click_id, publisher_id, tracking_id, link_key, store_id,
    country, device
from in_order
where next_scope_key is null
    or next_scope_key <> scope_key
    or next_buyer_id <> buyer_id
    or next_clicked_at <> clicked_at
