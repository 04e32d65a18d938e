-- Those of these lines that an anonymous click of the visitor may have earned, in the window.
--
-- grain:  one row per order line and visitor
-- kind:   temporary
-- reads:  stale.lines_of_changed_buyers, clean.clicks
-- params: $window
with clicks as (
    select visitor_id, clicked_at
    from clean.clicks
    where buyer_id is null
        and visitor_id in (select visitor_id from stale.lines_of_changed_buyers)
)

select lines.*
from stale.lines_of_changed_buyers as lines
where exists (
    select 1
    from clicks
    where clicks.visitor_id = lines.visitor_id
        and clicks.clicked_at <= lines.placed_at
        and clicks.clicked_at >= lines.placed_at - cast($window as interval)
)
