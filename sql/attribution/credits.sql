-- Who is credited with each order line placed: the click that won, and how many might have.
--
-- grain:  one row per order line placed in the dates to make
-- kept:   for the run
-- reads:  attribution.placed_lines, attribution.timeline, reference.stores
-- params: $zone, $slice
--
-- The latest click in the window wins, whichever publisher's it is: every click starts the
-- window again (A2). Nothing is credited where the store had not joined at that moment (A3).
with placed_lines as (
    select *
    from attribution.placed_lines
),

bounds as (
    select
        line,
        max(clicks_so_far) filter (where not is_order) as clicks_before_window,
        max(clicks_so_far) filter (where is_order) as clicks_before_order
    from attribution.timeline
    where not is_click and slice = $slice
    group by line
),

clicks as (
    select *
    from attribution.timeline
    where is_click and slice = $slice
),

stores as (
    select store_id, joined_at, left_at
    from reference.stores
),

judged as (
    select
        placed_lines.line,
        bounds.clicks_before_window,
        bounds.clicks_before_order,
        case
            when stores.store_id is null then 'store_not_joined'
            when bounds.clicks_before_order = bounds.clicks_before_window then 'no_click'
            else 'attributed'
        end as status
    from placed_lines
    inner join bounds
        on placed_lines.line = bounds.line
    left join stores
        on placed_lines.store_id = stores.store_id
        and (stores.joined_at is null or stores.joined_at <= placed_lines.placed_at)
        and (stores.left_at is null or placed_lines.placed_at < stores.left_at)
),

credited as (
    select
        judged.line,
        judged.status,
        winner.click_id,
        winner.happened_at as clicked_at,
        winner.publisher_id,
        winner.tracking_id,
        winner.link_key,
        winner.store_id as click_store_id,
        winner.country as click_country,
        winner.device as click_device,
        case
            when judged.status = 'attributed'
            then judged.clicks_before_order - judged.clicks_before_window
        end as clicks_in_window,
        earliest.happened_at as first_click_at
    from judged
    left join clicks as winner
        on judged.status = 'attributed'
        and judged.clicks_before_order = winner.clicks_so_far
    left join clicks as earliest
        on judged.status = 'attributed'
        and judged.clicks_before_window + 1 = earliest.clicks_so_far
)

select
    cast(placed_lines.placed_at at time zone $zone as date) as order_date,
    placed_lines.order_id,
    placed_lines.line_id,
    placed_lines.placed_at,
    placed_lines.event_id,
    placed_lines.buyer_id,
    placed_lines.store_id,
    placed_lines.product_id,
    placed_lines.category_id,
    placed_lines.country,
    placed_lines.amount,
    credited.status,
    credited.click_id,
    credited.clicked_at,
    credited.publisher_id,
    credited.tracking_id,
    credited.link_key,
    credited.click_store_id,
    credited.click_country,
    credited.click_device,
    credited.clicks_in_window,
    credited.first_click_at
from credited
inner join placed_lines
    on credited.line = placed_lines.line
