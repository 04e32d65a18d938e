-- The conversions of one order's lines.
--
-- kind:   temporary
-- reads:  attribution.conversions
-- params: $order
select *
from attribution.conversions
where order_id = $order
order by placed_at, line_id
