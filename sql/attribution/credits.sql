-- The click that won each order line placed, and how many candidates there were.
--
-- grain:  one row per order line placed in the dates to make
-- kind:   temporary
-- split:  order_date
-- rule:   winning_click
-- reads:  attribution.placed_lines, attribution.winners, attribution.winning_clicks,
--         reference.stores
-- params: $zone
--
-- A line is not credited when its store was no member at that moment (A3). Clicks on several trails
-- of a line may share the winning moment. The one with the greatest id wins (A2).
with placed_lines as (
    select *
    from attribution.placed_lines
),

stores as (
    select store_id, joined_at, left_at
    from reference.stores
),

judged as (
    select
        placed_lines.*,
        stores.store_id is not null as is_joined
    from placed_lines
    left join stores
        on placed_lines.store_id = stores.store_id
        and (stores.joined_at is null or stores.joined_at <= placed_lines.placed_at)
        and (stores.left_at is null or placed_lines.placed_at < stores.left_at)
),

winning as (
    select
        winners.*,
        clicks.click_id,
        clicks.publisher_id,
        clicks.tracking_id,
        clicks.link_key,
        clicks.store_id,
        clicks.country,
        clicks.device,
        clicks.matched_by
    from attribution.winners as winners
    inner join attribution.winning_clicks as clicks
        on winners.trail_key = clicks.trail_key
        and winners.clicked_at = clicks.clicked_at
),

tied as (
    select line_key, max(click_id) as click_id
    from winning
    where may_be_tied
    group by line_key
),

clicks as (
    select winning.*
    from tied
    right join winning
        on tied.line_key = winning.line_key
    where tied.click_id is null or tied.click_id = winning.click_id
)

select
    judged.line_key,
    local_date(judged.placed_at, $zone) as order_date,
    judged.order_id,
    judged.line_id,
    judged.placed_at,
    judged.event_id,
    judged.buyer_id,
    judged.store_id,
    judged.product_id,
    judged.category_id,
    judged.country,
    judged.amount,
    case
        when not judged.is_joined then 'store_not_joined'
        when clicks.line_key is null then 'no_click'
        else 'attributed'
    end as status,
    clicks.click_id,
    clicks.clicked_at,
    clicks.publisher_id,
    clicks.tracking_id,
    clicks.link_key,
    clicks.store_id as click_store_id,
    clicks.country as click_country,
    clicks.device as click_device,
    clicks.clicks_in_window,
    clicks.first_click_at,
    clicks.matched_by
from judged
left join clicks
    on judged.is_joined
    and judged.line_key = clicks.line_key
