-- Order lines that another click earns now, or of which other clicks are candidates (C5, C7, D7).
--
-- grain:  one row per order date and visitor
-- kind:   temporary
-- reads:  stale.lines_with_changed_clicks, rule.winning_click
with winners as (
    select
        order_id, line_id, placed_at, click_id, clicked_at, clicks_in_window, first_click_at,
        matched_by
    from rule.winning_click
    where is_winner
)

select distinct
    lines.order_date,
    lines.visitor_id,
    lines.buyer_id
from stale.lines_with_changed_clicks as lines
left join winners
    on lines.order_id = winners.order_id
    and lines.line_id = winners.line_id
    and lines.placed_at = winners.placed_at
where (lines.click_id is distinct from winners.click_id)
    or (lines.clicked_at is distinct from winners.clicked_at)
    or (lines.clicks_in_window is distinct from winners.clicks_in_window)
    or (lines.first_click_at is distinct from winners.first_click_at)
    or (lines.matched_by is distinct from winners.matched_by)
