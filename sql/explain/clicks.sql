-- Clicks of the buyers of one order and of their visitors, around the times its lines were placed.
--
-- kind:   temporary
-- reads:  clean.clicks, explain.order_lines, explain.visitors
-- params: $from, $to
select *
from clean.clicks
where clicked_at >= $from
    and clicked_at < $to
    and (
        buyer_id in (select buyer_id from explain.order_lines)
        or visitor_id in (select visitor_id from explain.visitors)
    )
