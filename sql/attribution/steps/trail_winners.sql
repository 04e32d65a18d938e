-- The latest candidate of each order line on each of its trails, and the number of candidates.
--
-- grain:  one row per order line placed and trail on which it has a candidate
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.timeline
with bounds as (
    select
        line_key,
        trail_key,
        max(clicks_so_far) filter (where not is_order) as clicks_before_window,
        max(clicks_so_far) filter (where is_order) as clicks_before_order
    from attribution.timeline
    where not is_click
    group by line_key, trail_key
),

clicks as (
    select clicks_so_far, happened_at
    from attribution.timeline
    where is_click
)

select
    bounds.line_key,
    bounds.trail_key,
    bounds.clicks_before_order - bounds.clicks_before_window as clicks_in_window,
    latest.happened_at as clicked_at,
    earliest.happened_at as first_click_at
from bounds
inner join clicks as latest
    on bounds.clicks_before_order = latest.clicks_so_far
inner join clicks as earliest
    on bounds.clicks_before_window + 1 = earliest.clicks_so_far
where bounds.clicks_before_order > bounds.clicks_before_window
