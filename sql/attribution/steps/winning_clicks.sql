-- The clicks that won, with the columns that other tables need.
--
-- grain:  one row per buyer and moment at which one of the buyer's clicks won
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.winners, attribution.placed_lines, clean.clicks
-- params: $scope
--
-- Several clicks may share the winning moment. The one with the greatest id wins (A2). Few clicks
-- happened at a moment at which any click won, so the buyer is read for these few only.
with winners as (
    select distinct
        placed_lines.buyer_id,
        placed_lines.scope_key,
        winners.clicked_at
    from attribution.winners as winners
    inner join attribution.placed_lines as placed_lines
        on winners.line_key = placed_lines.line_key
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
        lead(winners.scope_key) over buyer_and_moment as next_scope_key,
        lead(clicks.buyer_id) over buyer_and_moment as next_buyer_id,
        lead(clicks.clicked_at) over buyer_and_moment as next_clicked_at
    from winners
    inner join clicks
        on winners.buyer_id = clicks.buyer_id
        and winners.clicked_at = clicks.clicked_at
        and winners.scope_key = clicks.scope_key
    window buyer_and_moment as (
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
