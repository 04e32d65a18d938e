-- When the click that won each order line happened, and how many might have won.
--
-- grain:  one row per order line placed that a click came before, within the window
-- kept:   for the run
-- reads:  attribution.timeline
-- params: $slice
--
-- The latest click in the window wins, whichever publisher's it is: every click starts the
-- window again (A2).
with bounds as (
    select
        line,
        max(clicks_so_far) filter (where not is_order) as clicks_before_window,
        max(clicks_so_far) filter (where is_order) as clicks_before_order
    from attribution.timeline
    where not is_click and slice = $slice
    group by line
),

clicks as (
    select clicks_so_far, happened_at
    from attribution.timeline
    where is_click and slice = $slice
)

select
    bounds.line,
    bounds.clicks_before_order - bounds.clicks_before_window as clicks_in_window,
    winner.happened_at as clicked_at,
    earliest.happened_at as first_click_at
from bounds
inner join clicks as winner
    on bounds.clicks_before_order = winner.clicks_so_far
inner join clicks as earliest
    on bounds.clicks_before_window + 1 = earliest.clicks_so_far
where bounds.clicks_before_order > bounds.clicks_before_window
