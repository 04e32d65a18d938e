-- The time of the click that won each order line, and the number of candidates.
--
-- grain:  one row per order line placed that has a candidate
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.timeline
--
-- The latest click in the window wins, whichever publisher it belongs to: every click starts the
-- window again (A2).
with bounds as (
    select
        line_key,
        max(clicks_so_far) filter (where not is_order) as clicks_before_window,
        max(clicks_so_far) filter (where is_order) as clicks_before_order
    from attribution.timeline
    where not is_click
    group by line_key
),

clicks as (
    select clicks_so_far, happened_at
    from attribution.timeline
    where is_click
)

select
    bounds.line_key,
    bounds.clicks_before_order - bounds.clicks_before_window as clicks_in_window,
    winner.happened_at as clicked_at,
    earliest.happened_at as first_click_at
from bounds
inner join clicks as winner
    on bounds.clicks_before_order = winner.clicks_so_far
inner join clicks as earliest
    on bounds.clicks_before_window + 1 = earliest.clicks_so_far
where bounds.clicks_before_order > bounds.clicks_before_window
