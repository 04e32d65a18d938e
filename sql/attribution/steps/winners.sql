-- The time of the click that won each order line, where it is, and the number of candidates.
--
-- grain:  one row per order line placed that has a candidate, and trail with a click at that time
-- kind:   temporary
-- rule:   winning_click
-- reads:  attribution.trail_winners
--
-- The latest click in the window wins, whichever publisher it belongs to: every click starts the
-- window again (A2). Trails of one line have no click in common, so their candidates add up.
with latest as (
    select
        line_key,
        cast(sum(clicks_in_window) as bigint) as clicks_in_window,
        max(clicked_at) as clicked_at,
        min(first_click_at) as first_click_at,
        count(*) as trails
    from attribution.trail_winners
    group by line_key
)

select
    latest.line_key,
    trail_winners.trail_key,
    latest.clicks_in_window,
    latest.clicked_at,
    latest.first_click_at,
    latest.trails > 1 as may_be_tied
from latest
inner join attribution.trail_winners as trail_winners
    on latest.line_key = trail_winners.line_key
    and latest.clicked_at = trail_winners.clicked_at
